"""Table of the pairs: keys, identities and labels to group by."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from enface.errors import DataError
from enface_tools.pairs.files import listed, shown
from enface_tools.pairs.matching import MatchedImages, compile_pattern, first_groups

RESERVED = ("target_key",)


def label_table(
    matched: MatchedImages, identity: str | None, labels: Path | None, metrics: Collection[str]
) -> pd.DataFrame:
    """Return a row for each output: ``key``, ``target_key``, ``identity``, then the columns of the labels.

    Keys are names without extension.

    Args:
        identity: A regular expression; group 1 in the key of an output is its identity. By default, and without a
            column ``identity`` in the labels, outputs that share a target have one identity.
        labels: A CSV file with a column ``key`` and any others.
        metrics: Names that no column of the labels may have.

    Raises:
        DataError: if an output has no identity or no labels, or the file is not such a table.
    """
    keys = list(matched.outputs.stems)
    target_keys = [matched.targets.stems[index] for index in matched.target_of.tolist()]
    identities = target_keys
    if identity is not None:
        identities = first_groups(keys, compile_pattern(identity, "--identity"), "--identity", "outputs")
    pairs = pd.DataFrame({"key": keys, "target_key": target_keys, "identity": identities}, dtype=object)
    if labels is None:
        return pairs
    table = _read(labels, metrics).set_index("key")
    missing = [key for key in keys if key not in table.index]
    if missing:
        raise DataError(
            f"labels {labels} have no row for {len(missing)} outputs: {listed(missing)}; "
            "a key is a file name without extension, with its folder if it is in one"
        )
    rows = table.loc[keys].reset_index(drop=True)
    if "identity" in rows:
        if identity is not None:
            raise DataError(f"identities are given twice: by --identity and by the column of {labels}; drop one")
        pairs["identity"] = _identities(rows.pop("identity"), keys, labels)
    return pd.concat([pairs, rows], axis=1)


def _identities(column: pd.Series[str], keys: list[str], path: Path) -> pd.Series[str]:
    empty = [key for key, known in zip(keys, column.notna(), strict=True) if not known]
    if empty:
        raise DataError(f"labels {path} have no identity for {len(empty)} outputs: {listed(empty)}")
    return column


def _read(path: Path, metrics: Collection[str]) -> pd.DataFrame:
    try:
        # "NA" and "None" are labels like any other.
        table = pd.read_csv(
            path,
            dtype={"key": str, "identity": str},
            keep_default_na=False,
            na_values=[""],
            encoding="utf-8-sig",
        )
    except (OSError, ValueError) as error:
        raise DataError(f"labels {path} cannot be read ({shown(str(error))}); give a CSV file in UTF-8") from error
    # Pandas names the column of row numbers, which has no name in the file.
    table = table[[name for name in table.columns if not str(name).startswith("Unnamed: ")]].copy()
    columns = [str(name) for name in table.columns]
    if "key" not in columns:
        raise DataError(f"labels {path} have no column 'key' (columns: {listed(columns)})")
    # A person's identity and the metric of that name have columns of their own.
    taken = {*RESERVED, *metrics} - {"identity"}
    reserved = [name for name in columns if name in taken or "@" in name]
    if reserved:
        raise DataError(f"labels {path}: results have a column {shown(reserved[0])} of their own; rename it")
    if table["key"].isna().any():
        raise DataError(f"labels {path}: line {int(table['key'].isna().argmax()) + 2} has no key")
    table["key"] = [unicodedata.normalize("NFC", key) for key in table["key"]]
    repeated = table["key"][table["key"].duplicated()]
    if len(repeated):
        raise DataError(f"labels {path}: key {shown(repeated.iloc[0])} occurs more than once")
    return table

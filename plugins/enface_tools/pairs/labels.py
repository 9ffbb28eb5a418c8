"""What is known of each pair beside its images: whose they are, and labels to group by."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from enface.errors import DataError
from enface_tools.pairs.files import listed, shown
from enface_tools.pairs.matching import Matched, compiled, grouped

TAKEN = ("target_key",)


def about(matched: Matched, identity: str | None, labels: Path | None, metrics: Collection[str]) -> pd.DataFrame:
    """A row an output: ``key``, ``target_key``, ``identity``, then the columns of the labels.

    Keys are names without extension.

    Args:
        identity: A regular expression; its group 1 in an output's key says whose image it is. Without it and
            without a column ``identity`` among the labels, outputs are of one identity when they share a target.
        labels: A CSV file with a column ``key`` and any others.
        metrics: Names that no column of the labels may have.

    Raises:
        DataError: when an output has no identity or no labels, or the file is not such a table.
    """
    keys = list(matched.outputs.stems)
    target_keys = [matched.targets.stems[index] for index in matched.target_of.tolist()]
    people = target_keys
    if identity is not None:
        people = grouped(keys, compiled(identity, "--identity"), "--identity", "outputs")
    frame = pd.DataFrame({"key": keys, "target_key": target_keys, "identity": people}, dtype=object)
    if labels is None:
        return frame
    table = _read(labels, metrics).set_index("key")
    missing = [key for key in keys if key not in table.index]
    if missing:
        raise DataError(
            f"labels {labels} have no row for {len(missing)} outputs: {listed(missing)}; "
            "keys are file names without extension, with the folder where there is one"
        )
    mine = table.loc[keys].reset_index(drop=True)
    if "identity" in mine:
        if identity is not None:
            raise DataError(f"identities are given twice: by --identity and by the column of {labels}; leave out one")
        named = mine.pop("identity")
        empty = [key for key, known in zip(keys, named.notna(), strict=True) if not known]
        if empty:
            raise DataError(f"labels {labels} have no identity for {len(empty)} outputs: {listed(empty)}")
        frame["identity"] = named
    return pd.concat([frame, mine], axis=1)


def _read(path: Path, metrics: Collection[str]) -> pd.DataFrame:
    try:
        # A text of "NA" or "None" is a label like any other.
        table = pd.read_csv(
            path,
            dtype={"key": str, "identity": str},
            keep_default_na=False,
            na_values=[""],
            encoding="utf-8-sig",
        )
    except (OSError, ValueError) as error:
        raise DataError(f"labels {path} cannot be read ({shown(str(error))}); give a CSV file in UTF-8") from error
    # A table written with its row numbers has a column without a name, which pandas gives one.
    table = table[[name for name in table.columns if not str(name).startswith("Unnamed: ")]].copy()
    columns = [str(name) for name in table.columns]
    if "key" not in columns:
        raise DataError(f"labels {path} have no column 'key' (columns: {listed(columns)})")
    taken = [name for name in columns if name in TAKEN or name in metrics or "@" in name]
    if taken:
        raise DataError(f"labels {path}: results have a column {shown(taken[0])} of their own; rename it")
    if table["key"].isna().any():
        raise DataError(f"labels {path}: line {int(table['key'].isna().argmax()) + 2} has no key")
    table["key"] = [unicodedata.normalize("NFC", key) for key in table["key"]]
    twice = table["key"][table["key"].duplicated()]
    if len(twice):
        raise DataError(f"labels {path}: key {shown(twice.iloc[0])} occurs more than once")
    return table

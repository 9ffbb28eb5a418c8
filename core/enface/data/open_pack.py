"""The pack of a recipe: made from its dataset, or opened at ``data.pack``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

from enface.data.images import px
from enface.data.pack import Pack, read_pack
from enface.errors import DataError
from enface.plugin.catalog import Catalog
from enface.recipe.load import LoadedRecipe
from enface.recipe.models import DataModel
from enface.system.cache import cache_folder
from enface.system.messages import Progress

REMEDY = "write it again, to another address, with 'enface data pack RECIPE --out ADDRESS'"


def open_pack(loaded: LoadedRecipe, progress: Progress | None = None, say: Callable[[str], None] | None = None) -> Pack:
    """Return the pack at the recipe's ``data.pack``, or without that key one made from its dataset.

    Args:
        progress: Called with (images done, images in all) while packing, (MiB done, MiB in all) while fetching.
        say: Receives a message if a copy is used because the address cannot be reached.

    Raises DataError if there is no pack at the address, it is damaged, or it does not match the recipe.
    """
    data, hook = loaded.recipe.data, loaded.plugins.hook
    if data.pack is None:
        made: Pack | None = hook.make_pack(loaded=loaded, progress=progress)
        if made is None:
            raise DataError("data: no installed plugin makes packs; install enface again, or name one with data.pack")
        return made
    if data.local_pack is not None:
        pack = read_pack(data.local_pack, REMEDY)
    else:
        folder: Path | None = hook.open_pack(address=data.pack, progress=progress, say=say)
        if folder is None:
            raise DataError(f"data.pack: no installed plugin can open {data.pack}; install enface again")
        is_copy = folder.is_relative_to(cache_folder())
        pack = read_pack(folder, "delete that folder to have it fetched again" if is_copy else REMEDY)
    missing = [column for column in ("key", "identity") if column not in pack.table]
    if missing:
        raise DataError(f"{data.pack} is not a pack: its table has no column {missing[0]!r}")
    _check_fits(pack, data, loaded.catalog)
    return replace(pack, address=data.pack)


def _check_fits(pack: Pack, data: DataModel, catalog: Catalog) -> None:
    """Raise DataError if a pack does not match the recipe's ``data``."""
    if pack.size != data.packed_size:
        key = "size" if data.load_size is None else "load_size"
        side = pack.size[0] if len({*pack.size}) == 1 else list(pack.size)
        raise DataError(
            f"data.pack: {data.pack} holds images of {px(pack.size)} px, the recipe requests {px(data.packed_size)}; "
            f"set data.{key} to {side}" + (", or data.load_size and a smaller size" if key == "size" else "")
        )
    planes = max(data.channels.source, data.channels.target)
    for key, packed, differs in (
        ("channels", pack.info.channels, pack.info.channels < planes),
        ("depth", pack.info.depth, pack.info.depth != data.depth),
        ("fit", pack.info.fit, pack.info.fitted.images and pack.info.fit != data.fit),
    ):
        if differs:
            raise DataError(f"data.pack: {data.pack} was made with {key} {packed}; change data.{key}, or the pack")
    if not data.use:
        return
    if pack.info.dataset != data.use:
        raise DataError(f"data.pack: {data.pack} is of dataset {pack.info.dataset}, and data.use says {data.use}")
    fields = catalog.get("dataset", data.use).params.model_fields
    for name, value in data.params.items():
        # Folders differ between machines.
        if Path in (fields[name].annotation, *get_args(fields[name].annotation)):
            continue
        default = json.loads(json.dumps(fields[name].get_default(call_default_factory=True), default=str))
        packed = pack.info.parameters.get(name, default)
        if value != packed:
            raise DataError(
                f"data.pack: {data.pack} was made with {name} {packed!r}, and the recipe says {value!r}; "
                f"set data.{name} to {packed!r}, or choose another pack"
            )

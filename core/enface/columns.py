"""The tensors of a batch, by the names that terms ask for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from enface.pack import Pack
from enface.sampling import Indices


class Columns:
    """The tensors of a batch by name, gathered from a pack on a device.

    Names: ``source target partner`` are images, float (N, 3, H, W) in [-1, 1]; a column of the table is the
    source's value, ``COLUMN_class`` its index among the values that occur; with ``target_`` or ``partner_``
    before it, the other image's; ``same_COLUMN`` is 1.0 where source and partner agree; ``ROLE_regions`` is the
    region map, int64 (N, H, W).

    Args:
        channels_last: Give images in this memory format.
    """

    def __init__(
        self, pack: Pack, roles: tuple[str, ...], device: torch.device, *, channels_last: bool = False
    ) -> None:
        self.pack = pack
        self.roles = roles
        self._device = device
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._resident = _resident(pack.images, device)
        # Taken from the table once: a column is as long as the data, and a step needs a batch of it.
        self._values = {str(name): pack.table[name].to_numpy() for name in pack.table.columns}
        self._codes: dict[str, Indices] = {}
        self._numeric = [str(name) for name, kind in pack.table.dtypes.items() if kind.kind in "iufb"]

    @property
    def names(self) -> list[str]:
        """Every name that can be asked for."""
        prefixes = ["", *(f"{role}_" for role in self.roles if role != "source")]
        found = list(self.roles)
        for prefix in prefixes:
            found += [f"{prefix}{name}" for name in self._numeric]
            found += [f"{prefix}{name}_class" for name in self.pack.table.columns if name != "key"]
        if "partner" in self.roles:
            found += [f"same_{name}" for name in self.pack.table.columns if name != "key"]
        if self.pack.regions is not None:
            found += [f"{role}_regions" for role in self.roles]
        return found

    def gather(self, name: str, rows: Mapping[str, Indices]) -> Tensor:
        """The tensor of a name for these rows."""
        if name in self.roles:
            return self._images(rows[name])
        if name.startswith("same_") and name not in self._numeric:
            column = self._values[name.removeprefix("same_")]
            return self._tensor((column[rows["source"]] == column[rows["partner"]]).astype(np.float32))
        role, rest = self._role(name)
        if rest == "regions" and self.pack.regions is not None:
            return self._tensor(self.pack.regions[rows[role]].astype(np.int64))
        if rest in self._numeric:
            values = self._values[rest][rows[role]]
            return self._tensor(values.astype(np.float32 if values.dtype.kind == "f" else np.int64))
        return self._tensor(self._classes(rest.removesuffix("_class"))[rows[role]])

    def _role(self, name: str) -> tuple[str, str]:
        for role in self.roles:
            if name.startswith(f"{role}_") and name not in self.pack.table.columns:
                return role, name.removeprefix(f"{role}_")
        return "source", name

    def _classes(self, column: str) -> Indices:
        if column not in self._codes:
            codes = np.unique(self._values[column].astype(object), return_inverse=True)[1]
            self._codes[column] = codes.astype(np.int64)
        return self._codes[column]

    def _images(self, rows: Indices) -> Tensor:
        if self._resident is not None:
            pixels = self._resident[torch.from_numpy(rows).to(self._device)]
        else:
            pixels = self._tensor(self.pack.images[rows])
        return (pixels.float() / 127.5 - 1).contiguous(memory_format=self._format)

    def _tensor(self, values: npt.NDArray[np.generic]) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        if self._device.type == "cuda":
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor


def _resident(images: npt.NDArray[np.uint8], device: torch.device) -> Tensor | None:
    """The pack on the device, when it takes less than half of what is free there."""
    if device.type != "cuda" or images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return None
    return torch.from_numpy(np.array(images)).to(device)

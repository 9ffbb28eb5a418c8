"""One photograph through a trained network, prepared as ``enface apply`` prepares it."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from torch import Tensor

from enface.data.images import px
from enface.errors import DataError
from enface.recipe.load import load_recipe
from enface_tools.evaluate.checkpoints import open_network
from enface_tools.evaluate.grid import shown, to_pixels
from enface_tools.evaluate.run import require_run
from enface_tools.inference.apply import ImageTask, ImageTranslator, PairGrid, device_of


@dataclass
class LastPair(PairGrid):
    """Keeps the network's input and output of the last image, (C, H, W) in [0, 1]."""

    source: Tensor | None = None
    output: Tensor | None = None

    def add(self, sources: Mapping[int, Tensor], outputs: Mapping[int, Tensor]) -> None:
        """Keep an image."""
        for index, source in sources.items():
            self.source, self.output = source, outputs[index]


@dataclass
class PhotoTranslator:
    """Translates photographs one at a time.

    Attributes:
        name: Name of the recipe.
        about: A line that describes network and size.
    """

    name: str
    about: str
    images: ImageTranslator
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, photo: bytes) -> tuple[bytes, bytes]:
        """Return the network's input and its output for an image file, as PNG files.

        Raises:
            DataError: if the file cannot be read as an image.
        """
        with self._lock, TemporaryDirectory(prefix="enface-demo-") as folder:
            path = Path(folder) / "photo"
            path.write_bytes(photo)
            pair = LastPair(1, self.images.data.image_size)
            errors = self.images([ImageTask(path, Path(folder) / "output.png")], pair)
            for message in errors.values():
                raise DataError(message.replace(f"image {path}", "this file").replace(str(path), path.name))
            assert pair.source is not None
            assert pair.output is not None
            return _png(pair.source), _png(pair.output)


def open_translator(
    directory: Path, checkpoint: Path | None = None, device: str = "auto", *, average: bool = True
) -> PhotoTranslator:
    """Load the network of a run; its data is not needed.

    Raises:
        CheckpointError: if there is no checkpoint, or it does not fit the recipe.
        EnfaceError: if it is not a run directory, or the device is not available.
    """
    require_run(directory)
    loaded, target = load_recipe(directory), device_of(device)
    network, saved = open_network(loaded, directory, checkpoint, target, raw=not average)
    data, step = loaded.recipe.data, saved.state["step"]
    about = (
        f"{loaded.recipe.generator.use}, step {step}. Photographs are fitted to {px(data.image_size)} px ({data.fit})."
    )
    return PhotoTranslator(loaded.recipe.name, about, ImageTranslator(network, data, target))


def _png(image: Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(to_pixels(shown(image[None]))[0]).save(buffer, "PNG")
    return buffer.getvalue()

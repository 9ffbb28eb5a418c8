"""Draw a mask by hand: the annotation page and its HTTP server."""

from __future__ import annotations

import base64
import io
import json
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from enface.errors import DataError, EnfaceError
from enface.plugin.components import Targets
from enface_tools.evaluate.grid import displayed
from enface_tools.masks.annotations import (
    Annotation,
    annotations_path,
    as_points,
    mask_weights,
    parse_annotations,
    read_annotations,
    union,
    write_annotations,
)
from enface_tools.masks.files import mean_image, save_mask
from enface_tools.report.html import environment
from enface_tools.report.local_server import LocalHandler, LocalServer

# The longest JSON text of a pixel, "[4095, 4095], ", in images of any size used for training.
BYTES_PER_PIXEL = 16


@dataclass
class AnnotationSession:
    """Faces, their annotations, and the mask file to write.

    Attributes:
        name: Name of the recipe.
        faces: uint8 (3, H, W) by key.
        out: The ``.npy`` file.
        inside: Weight of marked pixels.
        outside: Weight of all others, lower than ``inside``.
        width: Initial width of the brush in pixels.
        annotations: By image key, as last saved; may include images that are not among the faces.
        saved: True once anything has been saved.
    """

    name: str
    faces: Mapping[str, npt.NDArray[np.uint8]]
    out: Path
    inside: float
    outside: float
    width: int
    annotations: dict[str, Annotation]
    saved: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the faces in pixels."""
        height, width = next(iter(self.faces.values())).shape[1:]
        return height, width

    @property
    def off_page(self) -> dict[str, Annotation]:
        """Annotations of images that are not among the faces. They count towards the mask and are kept unchanged."""
        return {key: annotation for key, annotation in self.annotations.items() if key not in self.faces}

    def save(self, drawn: Mapping[str, Annotation]) -> str:
        """Write mask, picture and annotations, replacing those of the faces by ``drawn``.

        Returns:
            A sentence that names the files.

        Raises:
            DataError: if no pixel is marked, which gives no mask, or a file cannot be written.
        """
        with self.lock:
            annotations = {**self.off_page, **drawn}
            marked = union(annotations, self.shape)
            if not marked.any():
                raise DataError("nothing is marked yet, so there is no mask to save")
            # The annotations first: the two other files can be computed from them.
            write_annotations(annotations_path(self.out), annotations, self.shape)
            self.annotations = annotations
            backdrop = mean_image(np.stack(list(self.faces.values())))
            picture = save_mask(mask_weights(marked, self.inside, self.outside), backdrop, self.out)
            self.saved = True
        return f"Saved {self.out.resolve()}, with {picture.name} and {annotations_path(self.out).name} beside it."


def open_session(
    name: str, targets: Targets, out: Path, *, inside: float = 5.0, outside: float = 1.0, width: int = 1
) -> AnnotationSession:
    """Start annotating some targets, resuming from the annotations of ``out`` if there are any.

    Raises:
        DataError: if the weights do not distinguish marked pixels, or the annotations cannot be read.
    """
    if not math.inf > inside > outside >= 0:
        raise DataError(
            f"--inside {inside:g} must be above --outside {outside:g}, and both >= 0: "
            "the highest value of a mask file is the marked region"
        )
    faces = dict(zip(targets.keys, displayed(targets.images), strict=True))
    annotations = read_annotations(annotations_path(out), (targets.images.shape[2], targets.images.shape[3]))
    return AnnotationSession(name, faces, out, inside, outside, width, annotations)


def render_page(session: AnnotationSession, nonce: str) -> str:
    """HTML of the annotation page, which requests nothing but ``save`` from its own server."""
    height, width = session.shape
    points = as_points(session.annotations)
    contents = {
        "height": height,
        "width": width,
        "brush": session.width,
        "out": str(session.out),
        "annotationsName": annotations_path(session.out).name,
        "faces": [
            {"key": key, "image": _data_uri(image), "marks": points.get(key, [])}
            for key, image in session.faces.items()
        ],
        "offPage": as_points(session.off_page),
    }
    template = environment("enface_tools.masks").get_template("draw.html")
    return template.render(session=session, contents=contents, nonce=nonce)


def _data_uri(image: npt.NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


class AnnotationServer(LocalServer):
    """Serve one session on this machine only; ``serve_forever`` returns when the page saves and closes.

    Args:
        port: 0 for any free port.

    Raises:
        EnfaceError: if the port cannot be used.
    """

    def __init__(self, session: AnnotationSession, port: int = 0) -> None:
        self.session = session
        super().__init__(_Handler, port)


class _Handler(LocalHandler):
    server: AnnotationServer

    def page(self, nonce: str) -> str:
        return render_page(self.server.session, nonce)

    def do_POST(self) -> None:
        body = self._body()
        if not (self.is_for("save") and self.is_from_page()):
            self.reply(HTTPStatus.FORBIDDEN, message="only the page itself may save")
            return
        session = self.server.session
        try:
            request = _parse_request(body)
            drawn = parse_annotations(request["marks"], session.shape, session.faces)
        except DataError as error:
            self.reply(HTTPStatus.BAD_REQUEST, message=f"{error}")
            return
        try:
            message = session.save(drawn)
        except EnfaceError as error:
            self.reply(HTTPStatus.CONFLICT, message=f"Not saved: {error}.")
            return
        try:
            self.reply(HTTPStatus.OK, message=message)
        finally:
            if request["close"]:
                self.server.shutdown()

    def _body(self) -> bytes:
        faces, (height, width) = self.server.session.faces, self.server.session.shape
        return self.body(len(faces) * (height * width * BYTES_PER_PIXEL + 1024))


def _parse_request(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DataError("the request is not JSON, or too long") from error
    if not isinstance(request, dict) or set(request) != {"marks", "close"} or not isinstance(request["close"], bool):
        raise DataError("a request to save must have 'marks' and 'close', and nothing else")
    return request

"""Drawing a mask by hand: the page that marks are made on, and its server."""

from __future__ import annotations

import base64
import io
import json
import math
import secrets
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
import numpy as np
import numpy.typing as npt
from PIL import Image

from enface.errors import DataError, EnfaceError
from enface.plugin.components import Targets
from enface_tools.masks.annotations import (
    Marked,
    marks_path,
    mask_weights,
    parse_marks,
    plain_marks,
    read_marks,
    union,
    write_marks,
)
from enface_tools.masks.files import mean_image, save_mask

HOST = "127.0.0.1"
# Whoever forwards the port over ssh may come by either name, and from another port.
LOCAL_NAMES = (HOST, "localhost")
# "[4095, 4095], " is the longest a pixel of an image that anyone trains on is written.
BYTES_PER_PIXEL = 16


@dataclass
class Drawing:
    """Faces, what is marked on them, and the mask file these become.

    Attributes:
        name: The recipe's.
        faces: uint8 (3, H, W) by key.
        out: The ``.npy`` file.
        inside: Weight of marked pixels.
        outside: Weight of all others, lower than ``inside``.
        width: Of the brush at first, in pixels.
        marks: By image key, also of images that are not among the faces; as saved last.
        saved: Whether anything was saved.
    """

    name: str
    faces: Mapping[str, npt.NDArray[np.uint8]]
    out: Path
    inside: float
    outside: float
    width: int
    marks: dict[str, Marked]
    saved: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the faces in pixels."""
        height, width = next(iter(self.faces.values())).shape[1:]
        return height, width

    @property
    def kept(self) -> dict[str, Marked]:
        """Marks of images that are not among the faces; they count, and stay as they are."""
        return {key: marked for key, marked in self.marks.items() if key not in self.faces}

    def save(self, drawn: Mapping[str, Marked]) -> str:
        """Write mask, picture and marks, the faces' marks being ``drawn``; a sentence that says where.

        Raises:
            DataError: when nothing is marked, which would make no mask, or a file cannot be written.
        """
        with self.lock:
            marks = {**self.kept, **drawn}
            marked = union(marks, self.shape)
            if not marked.any():
                raise DataError("nothing is marked yet, so there is no mask to save")
            # The marks first: of the three files they alone cannot be made again.
            write_marks(marks_path(self.out), marks, self.shape)
            self.marks = marks
            backdrop = mean_image(np.stack(list(self.faces.values())))
            picture = save_mask(mask_weights(marked, self.inside, self.outside), backdrop, self.out)
            self.saved = True
        return f"Saved {self.out.resolve()}; beside it {picture.name} and {marks_path(self.out).name}."


def open_drawing(
    name: str, targets: Targets, out: Path, *, inside: float = 5.0, outside: float = 1.0, width: int = 1
) -> Drawing:
    """A drawing on some targets, which goes on with the marks that lie beside ``out``.

    Raises:
        DataError: when the weights mark nothing or those marks cannot be gone on with.
    """
    if not math.inf > inside > outside >= 0:
        raise DataError(
            f"--inside {inside:g} must be above --outside {outside:g}, and both >= 0: "
            "the highest value of a mask file is what is marked"
        )
    faces = dict(zip(targets.keys, targets.images, strict=True))
    marks = read_marks(marks_path(out), (targets.images.shape[2], targets.images.shape[3]))
    return Drawing(name, faces, out, inside, outside, width, marks)


def page(drawing: Drawing, nonce: str) -> str:
    """The page, which asks for nothing but its own server's ``save``."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("enface_tools.masks"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    height, width = drawing.shape
    plain = plain_marks(drawing.marks)
    contents = {
        "height": height,
        "width": width,
        "brush": drawing.width,
        "out": str(drawing.out),
        "marksName": marks_path(drawing.out).name,
        "faces": [
            {"key": key, "image": _data_uri(image), "marks": plain.get(key, [])} for key, image in drawing.faces.items()
        ],
        "kept": plain_marks(drawing.kept),
    }
    return environment.get_template("draw.html").render(drawing=drawing, contents=contents, nonce=nonce)


def _data_uri(image: npt.NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


class Server(ThreadingHTTPServer):
    """Serves one drawing on this machine only; ``serve_forever`` returns when the page says so.

    The address holds a random token, so that neither another user of the machine nor another page in the browser
    sees the faces or saves anything.

    Args:
        port: 0 for any that is free.

    Raises:
        EnfaceError: when the port cannot be used.
    """

    daemon_threads = True

    def __init__(self, drawing: Drawing, port: int = 0) -> None:
        self.drawing, self.token = drawing, secrets.token_urlsafe(16)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise EnfaceError(f"port {port} cannot be used ({error.strerror}); name another --port") from error

    @property
    def address(self) -> str:
        """The page's."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up early is no error worth a traceback; all else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    # Browsers open connections ahead and never use them.
    timeout = 60

    def do_GET(self) -> None:
        if not self._is_for(""):
            self._answer(HTTPStatus.NOT_FOUND, "open the address that the terminal shows", "text/plain")
            return
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; img-src data:; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self._answer(HTTPStatus.OK, page(self.server.drawing, nonce), "text/html", policy)

    def do_POST(self) -> None:
        body = self._body()
        origin = self.headers.get("Origin")
        if not self._is_for("save") or origin != f"http://{self.headers.get('Host')}":
            self._say(HTTPStatus.FORBIDDEN, "only the page itself may save")
            return
        drawing = self.server.drawing
        try:
            asked = _request(body)
            drawn = parse_marks(asked["marks"], drawing.shape, drawing.faces)
        except DataError as error:
            self._say(HTTPStatus.BAD_REQUEST, f"{error}")
            return
        try:
            said = drawing.save(drawn)
        except EnfaceError as error:
            self._say(HTTPStatus.CONFLICT, f"Not saved: {error}.")
            return
        try:
            self._say(HTTPStatus.OK, said)
        finally:
            if asked["close"]:
                self.server.shutdown()

    def _is_for(self, name: str) -> bool:
        # The name by which the browser came: another site may let its own name lead here.
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        return host in LOCAL_NAMES and secrets.compare_digest(
            self.path.encode(), f"/{self.server.token}/{name}".encode()
        )

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        faces, (height, width) = self.server.drawing.faces, self.server.drawing.shape
        most = len(faces) * (height * width * BYTES_PER_PIXEL + 1024)
        return self.rfile.read(int(length)) if length.isdecimal() and int(length) <= most else b""

    def _say(self, status: HTTPStatus, message: str) -> None:
        self._answer(status, json.dumps({"message": message}), "application/json")

    def _answer(self, status: HTTPStatus, text: str, kind: str, policy: str = "default-src 'none'") -> None:
        content = text.encode()
        self.send_response(status)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(content)),
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """The terminal is not for requests."""


def _request(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DataError("what was sent is not JSON, or too long") from error
    if not isinstance(asked, dict) or set(asked) != {"marks", "close"} or not isinstance(asked["close"], bool):
        raise DataError("a request to save holds 'marks' and 'close', and nothing else")
    return asked

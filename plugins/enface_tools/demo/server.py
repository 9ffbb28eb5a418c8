"""The server of the demo page."""

from __future__ import annotations

import base64
from http import HTTPStatus

from enface.errors import EnfaceError
from enface_tools.demo.translator import PhotoTranslator
from enface_tools.report.html import environment
from enface_tools.report.local_server import LocalHandler, LocalServer

LIMIT = 32 * 2**20
"""Longest photograph in bytes."""


class DemoServer(LocalServer):
    """Serves the page of one network on this machine only.

    Args:
        port: 0 for any free port.

    Raises:
        EnfaceError: if the port cannot be used.
    """

    def __init__(self, translator: PhotoTranslator, port: int = 0) -> None:
        self.translator = translator
        super().__init__(_Handler, port)


class _Handler(LocalHandler):
    server: DemoServer

    def page(self, nonce: str) -> str:
        template = environment("enface_tools.demo").get_template("demo.html")
        return template.render(network=self.server.translator, limit=LIMIT, nonce=nonce)

    def do_POST(self) -> None:
        if not (self.is_for("translate") and self.is_from_page()):
            self.close_connection = True
            self.reply(HTTPStatus.FORBIDDEN, message="only the page itself may translate photographs")
            return
        photo = self.body(LIMIT)
        if not photo:
            # The rest of the body is not read.
            self.close_connection = True
            message = f"the photograph is empty, or larger than {LIMIT // 2**20} MiB"
            self.reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message=message)
            return
        try:
            source, output = map(_data_uri, self.server.translator(photo))
        except EnfaceError as error:
            self.reply(HTTPStatus.BAD_REQUEST, message=str(error))
            return
        self.reply(HTTPStatus.OK, source=source, output=output)


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"

"""An HTTP server for a page on this machine, which answers only that page."""

from __future__ import annotations

import json
import secrets
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from enface.errors import EnfaceError

HOST = "127.0.0.1"
# With a port forwarded over ssh, a browser may use either name, and another port.
LOCAL_NAMES = (HOST, "localhost")


class LocalServer(ThreadingHTTPServer):
    """Serves one page on this machine only.

    The address holds a random token, so that neither another user of the machine nor another page in the browser can
    use the server.

    Args:
        handler: Answers requests.
        port: 0 for any free port.

    Raises:
        EnfaceError: if the port cannot be used.
    """

    daemon_threads = True

    def __init__(self, handler: type[LocalHandler], port: int = 0) -> None:
        self.token = secrets.token_urlsafe(16)
        try:
            super().__init__((HOST, port), handler)
        except OSError as error:
            raise EnfaceError(f"port {port} cannot be used ({error.strerror}); name another --port") from error

    @property
    def address(self) -> str:
        """URL of the page."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print a traceback, except if the browser closed the connection early."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class LocalHandler(BaseHTTPRequestHandler):
    """Checks where requests come from, and sends answers with a strict content security policy."""

    server: LocalServer
    # Browsers open spare connections and may never use them.
    timeout = 60

    def page(self, nonce: str) -> str:
        """Return the page, whose scripts and styles have the nonce."""
        raise NotImplementedError(f"{type(self).__name__}.page")

    def do_GET(self) -> None:
        """Send the page."""
        if not self.is_for(""):
            self.send_text(HTTPStatus.NOT_FOUND, "open the address that the terminal shows", "text/plain")
            return
        nonce = secrets.token_urlsafe(16)
        self.send_page(self.page(nonce), nonce)

    def is_for(self, name: str) -> bool:
        """Return True if a request names this machine, the token and ``name``."""
        # Check the host name too: another site may point its own name to this address (DNS rebinding).
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        return host in LOCAL_NAMES and secrets.compare_digest(
            self.path.encode(), f"/{self.server.token}/{name}".encode()
        )

    def is_from_page(self) -> bool:
        """Return True if the page itself sent the request."""
        return self.headers.get("Origin") == f"http://{self.headers.get('Host')}"

    def body(self, limit: int) -> bytes:
        """The request's body; empty if it is longer than ``limit`` bytes."""
        length = self.headers.get("Content-Length", "")
        return self.rfile.read(int(length)) if length.isdecimal() and int(length) <= limit else b""

    def reply(self, status: HTTPStatus, **content: Any) -> None:
        """Send JSON."""
        self.send_text(status, json.dumps(content), "application/json")

    def send_page(self, html: str, nonce: str) -> None:
        """Send a page whose own scripts and styles have the nonce, and may request from this server only."""
        policy = (
            f"default-src 'none'; img-src data:; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self.send_text(HTTPStatus.OK, html, "text/html", policy)

    def send_text(self, status: HTTPStatus, text: str, kind: str, policy: str = "default-src 'none'") -> None:
        """Send text of a media type."""
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
        """Do not log requests to the terminal."""

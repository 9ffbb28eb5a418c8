"""The ``demo`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enface import hookimpl
from enface.cli.options import Device, RunPath, Runs, say


def demo(
    run: RunPath,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", metavar="FILE", help="A checkpoint; default: the latest.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Use the plain weights instead of their running average.")] = False,
    device: Annotated[Device, typer.Option("--device", help="Device of the network.")] = Device.auto,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0 for any free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    runs: Runs = Path("runs"),
) -> None:
    """Try a trained network on photographs, in the browser.

    Drop a photograph on the page or use the camera. The page is open to this machine only, and keeps no photograph.
    """
    import threading
    import webbrowser

    from enface_tools.demo.server import DemoServer
    from enface_tools.demo.translator import open_translator

    with DemoServer(open_translator(run, checkpoint, device.value, average=not raw), port) as server:
        say(f"demo at {server.address} (stop with Ctrl-C)")
        if browser:
            # In a thread: a text browser blocks until it is closed, and would wait for the server.
            threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
        try:
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            say("stopped")


@hookimpl
def commands(app: typer.Typer) -> None:
    """Register ``demo``."""
    app.command("demo")(demo)

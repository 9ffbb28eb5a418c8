"""The ``masks draw`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface.cli.options import Overrides, RecipePath, Terminal, say

if TYPE_CHECKING:
    from enface_tools.masks.server import AnnotationServer, AnnotationSession


def draw(
    recipe: RecipePath,
    out: Annotated[Path, typer.Option("--out", help="The .npy file to write.", show_default=False)],
    set_: Overrides = None,
    faces: Annotated[int, typer.Option("--faces", min=1, help="Number of targets to draw on, one per identity.")] = 20,
    width: Annotated[int, typer.Option("--width", min=1, max=32, help="Initial width of the brush in pixels.")] = 1,
    inside: Annotated[float, typer.Option("--inside", min=0, help="Weight of marked pixels.")] = 5.0,
    outside: Annotated[float, typer.Option("--outside", min=0, help="Weight of all other pixels.")] = 1.0,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0 for any free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Draw a mask by hand on training targets, in the browser.

    The mask is the union of the pixels marked on all faces. The annotations are kept beside it, and the same command
    resumes from them.
    """
    from enface.recipe.load import load_recipe
    from enface.training.prepare import prepare_run
    from enface_tools.masks.annotations import prepare_output
    from enface_tools.masks.server import AnnotationServer, open_session

    prepare_output(out)
    run = prepare_run(load_recipe(recipe, set_ or []), Terminal(), ("mask",))
    session = open_session(run.recipe.name, run.info.targets(faces), out, inside=inside, outside=outside, width=width)
    _report_annotations(session, faces)
    with AnnotationServer(session, port) as server:
        _serve(server, browser)


def _report_annotations(session: AnnotationSession, requested: int) -> None:
    from enface_tools.masks.annotations import annotations_path

    if len(session.faces) < requested:
        say(f"only {len(session.faces)} of {requested} targets are available")
    off_page, path = session.off_page, annotations_path(session.out)
    if session.annotations:
        on_page = len(session.annotations) - len(off_page)
        say(f"resuming from {path}: annotations of {on_page} of the {len(session.faces)} faces")
    if off_page:
        some = ", ".join(list(off_page)[:5])
        say(f"kept and counted: annotations of {len(off_page)} images not shown on the page: {some}")


def _serve(server: AnnotationServer, browser: bool) -> None:
    import threading
    import webbrowser

    session = server.session
    try:
        say(f"draw at {server.address} (stop with Ctrl-C)")
        if browser:
            # In a thread: a text browser blocks until it is closed, and would wait for the server.
            threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
        server.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        # Wait for a save in progress.
        with session.lock:
            if not session.saved:
                say("stopped; nothing was saved")
                raise typer.Exit(130) from None
    say(f"mask: {session.out}")

"""Drawing a mask by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enface.cli.options import Overrides, RecipePath, load, prepared, say
from enface_tools.masks.command import masks_app

if TYPE_CHECKING:
    from enface_tools.masks.server import Drawing, Server


@masks_app.command("draw")
def draw(
    recipe: RecipePath,
    out: Annotated[Path, typer.Option("--out", help="The .npy file to write.", show_default=False)],
    set_: Overrides = None,
    faces: Annotated[int, typer.Option("--faces", min=1, help="Targets to draw on: one an identity.")] = 20,
    width: Annotated[int, typer.Option("--width", min=1, max=32, help="Of the brush at first, in pixels.")] = 1,
    inside: Annotated[float, typer.Option("--inside", min=0, help="Weight of marked pixels.")] = 5.0,
    outside: Annotated[float, typer.Option("--outside", min=0, help="Weight of all others.")] = 1.0,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of 127.0.0.1; 0 for any free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
) -> None:
    """Draw a mask by hand on training targets, in the browser.

    The mask is the union of the pixels marked on all faces. The marks are kept beside it, to go on with.
    """
    from enface_tools.masks.annotations import check_out
    from enface_tools.masks.server import Server, open_drawing

    check_out(out)
    run = prepared(load(recipe, set_ or []))
    drawing = open_drawing(run.recipe.name, run.info.targets(faces), out, inside=inside, outside=outside, width=width)
    _say_what_is_there(drawing, faces)
    with Server(drawing, port) as server:
        _serve(server, browser)


def _say_what_is_there(drawing: Drawing, wanted: int) -> None:
    from enface_tools.masks.annotations import marks_path

    if len(drawing.faces) < wanted:
        say(f"there are {len(drawing.faces)} targets to draw on, not {wanted}")
    kept, path = drawing.kept, marks_path(drawing.out)
    if drawing.marks:
        say(f"going on with {path}: marks on {len(drawing.marks) - len(kept)} of the {len(drawing.faces)} faces")
    if kept:
        some = ", ".join(list(kept)[:5])
        say(f"it keeps, and the mask counts, marks on {len(kept)} images that are not among them: {some}")


def _serve(server: Server, browser: bool) -> None:
    import threading
    import webbrowser

    drawing = server.drawing
    try:
        say(f"draw at {server.address} (Ctrl-C here ends it)")
        if browser:
            # Beside the server, for a browser of the terminal's own would wait for the page, and we for the browser.
            threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
        server.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        # A save that has begun is let end.
        with drawing.lock:
            if not drawing.saved:
                say("stopped; nothing was saved")
                raise typer.Exit(130) from None
    say(f"mask: {drawing.out}")

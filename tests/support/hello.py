"""A command of one's own."""

import typer
from enface import hookimpl


@hookimpl
def commands(app: typer.Typer) -> None:
    app.command("hello")(lambda name: typer.echo(f"hello {name}"))

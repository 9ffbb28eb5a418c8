"""Generate the reference of the command line from the commands of the installed plugins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from markdown_text import cell, escaped, table
from mkdocs.structure.files import File, Files
from typer.main import get_command

from enface.cli import application

PAGE = "researcher/cli.md"
INTRO = """# Commands

`enface COMMAND --help` prints the same. Exit codes: 0 success; 2 a mistake that the message names; 130 and 143 stopped
by Ctrl-C or SIGTERM, with everything saved; 1 any other failure, and findings of `enface audit --fail-on`.

| variable | meaning |
|---|---|
| `ENFACE_CACHE` | folder of packs and pretrained weights; default: the user's cache folder |
| `ENFACE_OFFLINE=1` | download nothing, as `--offline` |
| `NO_COLOR=1` | no colours; output to a file or pipe has none either |
"""
FACTS = re.compile(r"\s*\[((?:required|default: |[-\d.]*<?=?x[<>]).*)\]$")
RANGE = re.compile(r"(?:(?P<low>[-\d.]+)<=)?x(?P<sign>[<>]=?)(?P<bound>[-\d.]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the page."""
    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """Return the page: a table of commands, then a section for each."""
    found = list(commands())
    rows = [(f"[`{path}`](#{anchor(path)})", cell(summary(command))) for path, command, _ in found]
    sections = [part for path, command, context in found for part in section(path, command, context)]
    return "\n\n".join([INTRO.strip(), table(("command", "purpose"), rows), *sections]) + "\n"


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, command, context) of all commands; a group is replaced by its commands."""
    root = get_command(application())
    yield from leaves(root, root.make_context("enface", [], resilient_parsing=True))


def leaves(group: Any, context: Any) -> Iterator[tuple[str, Any, Any]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = command.make_context(name, [], parent=context, resilient_parsing=True)
        if hasattr(command, "list_commands"):
            yield from leaves(command, inner)
        elif not command.hidden:
            yield inner.command_path, command, inner


def section(path: str, command: Any, context: Any) -> Iterator[str]:
    """Yield the paragraphs of a command's section."""
    yield f"## `{path}` {{#{anchor(path)}}}"
    for paragraph in (command.help or "").split("\n\n"):
        yield escaped(" ".join(paragraph.split()))
    arguments = [item.name if item.required else f"[{item.name}]" for item in command.params if is_argument(item)]
    yield f"```\n{' '.join([path, *map(str.upper, arguments), '[OPTIONS]'])}\n```"
    records = [(item, item.get_help_record(context)) for item in command.params]
    rows = [row(item, *record) for item, record in records if record is not None]
    if rows:
        yield table(("argument or option", "default", "meaning"), rows)


def row(item: Any, names: str, meaning: str) -> tuple[str, str, str]:
    """Return the cells of an argument or option; its default and range stand in brackets after the help text."""
    facts = FACTS.search(meaning)
    text = FACTS.sub("", meaning)
    default, bounds = "", ""
    for fact in facts[1].split("; ") if facts else []:
        if fact.startswith("default: "):
            default = f"`{fact.removeprefix('default: ')}`"
        elif fact == "required":
            default = "**required**"
        else:
            low, sign, bound = RANGE.fullmatch(fact).groups()  # type: ignore[union-attr]
            bounds = f" ({low} to {bound})" if low else f" ({escaped(sign)} {bound})"
    shown = f"`{item.name.upper()}`" if is_argument(item) else f"`{plain_names(names)}`"
    return shown + "{.name}", default or "&nbsp;", cell(text) + bounds


def plain_names(names: str) -> str:
    """Return the names and value of an option without typer's types: ``--jobs N``, ``--split val|test``."""
    for shown, value in (("<int range>", "N"), ("<float range>", "X"), ("<path>", "PATH"), ("<str>", "NAME")):
        names = names.replace(shown, value)
    return re.sub(r"<(?:list\[)?([^<>\]]+)\]?>", r"\1", names).replace("|", "/")


def is_argument(item: Any) -> bool:
    return bool(item.param_type_name == "argument")


def summary(command: Any) -> str:
    return " ".join((command.help or "").partition("\n\n")[0].split())


def anchor(path: str) -> str:
    """Return the anchor of a command: ``masks-build``."""
    return path.removeprefix("enface ").replace(" ", "-")

"""Commands in the docs and the README: each is parsed, and those that need no cluster, network or hours are run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```(?:console|sh|bash)\n(.*?)^ *```", re.S | re.M)


# ---------------------------------------------------------------------- finding commands


def shell_lines(block: str) -> Iterator[str]:
    """Yield the commands of a block, without prompts and output; continued lines are joined."""
    lines = re.sub(r"\\\n", " ", block).splitlines()
    prompted, inside = any(line.startswith("$ ") for line in lines), False
    for line in lines:
        if not prompted or line.startswith("$ ") or inside:
            yield line.removeprefix("$ ")
            inside = line.startswith("$ for ") or (inside and not re.match(r"\s*done\b", line))


def words_of(line: str) -> list[list[str]]:
    """The commands of a line, each as a list of words; comments are removed."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split, lexer.commenters = True, "#"
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set(";&|"):
            commands.append([])
        elif word != "do" or commands[-1]:
            commands[-1].append(word)
    return [command for command in commands if command]


def enface_commands(text: str) -> Iterator[list[str]]:
    """Yield the arguments of every call of enface in the blocks of a page, with snippets included."""
    text = re.sub(r'^--8<-- "(.*)"$', lambda match: (ROOT / match[1]).read_text(encoding="utf-8"), text, flags=re.M)
    for indent, block in BLOCK.findall(text):
        for line in shell_lines(re.sub(rf"^{indent}", "", block, flags=re.M)):
            if "enface" in line and not line.lstrip().startswith("#"):
                for words in words_of(line):
                    if words[0] == "enface":
                        yield words[1:]
                    elif "enface" in words and words[words.index("enface") - 1] == "-m":
                        yield words[words.index("enface") + 1 :]


def cases() -> Iterator[Any]:
    for page in PAGES:
        for words in enface_commands(page.read_text(encoding="utf-8")):
            yield pytest.param(words, id=f"{page.stem}: {' '.join(words)}")


def mentions() -> Iterator[Any]:
    """Every command in the text of the pages, as `enface audit`."""
    for page in PAGES:
        text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
        for code in sorted(set(re.findall(r"`enface\s+([^`]+)`", text))):
            yield pytest.param(shlex.split(code), id=f"{page.stem}: {' '.join(code.split())}")


def test_commands_are_found_in_blocks():
    block = "$ enface run x \\\n  --resume  # more\nno\n$ for a in 1 2; do\n  enface check $a && enface runs\n  done"
    calls = list(enface_commands(f"```console\n{block}\n```\n    ```sh\n    enface plugins\n    ```\n"))
    assert calls == [["run", "x", "--resume"], ["check", "$a"], ["runs"], ["plugins"]]
    assert len(list(cases())) > 70
    assert len(list(mentions())) > 70


# ---------------------------------------------------------------------- parsing


def parse(words: list[str], *, whole: bool) -> None:
    """Parse a command as the command line does; names of runs are not looked up.

    Args:
        whole: Require all arguments, and check values. Otherwise only the command and its options must exist.
    """
    from typer.main import get_command

    from enface.cli import application

    command: Any = get_command(application())
    context = command.make_context("enface", [], resilient_parsing=True)
    rest = list(words)
    while hasattr(command, "list_commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"no command {name!r}"
        command = found
        context = command.make_context(name, [], parent=context, resilient_parsing=True)
    for item in command.params:
        item.callback = None
    if whole:
        command.make_context(command.name, rest, parent=context.parent)
    else:
        command.make_parser(context).parse_args(rest)


# Brought by the plugin of their page.
SHOWN = ("hello",)


@pytest.mark.parametrize("words", list(cases()))
def test_every_command_of_the_docs_is_complete(words):
    if words[0] not in SHOWN:
        parse(words, whole=True)


@pytest.mark.parametrize("words", list(mentions()))
def test_every_command_that_the_docs_mention_exists(words):
    if words[0] not in SHOWN and not re.search(r"[A-Z]{3}|\.\.\.", words[0]):
        parse(words, whole=False)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["runn", "x"], "runn"),
        (["run"], "recipe"),
        (["run", "x", "--resum"], "--resum"),
        (["evaluate", "x", "--split", "train"], "train"),
        (["apply", "x", "y.png"], "out"),
    ],
)
def test_a_wrong_command_is_found(words, says):
    with pytest.raises(Exception, match=says):
        parse(words, whole=True)


def overridden() -> Iterator[Any]:
    """Every command with a recipe of this repository and overrides."""
    from enface_tools.recipes.shipped import shipped_recipes

    shipped = shipped_recipes()
    for case in cases():
        (words,) = case.values
        keys = [words[index + 1] for index, word in enumerate(words[:-1]) if word == "--set"]
        path = ROOT / words[1] if len(words) > 1 else ROOT
        recipe = shipped.get(words[1]) if len(words) > 1 and "/" not in words[1] else path if path.is_file() else None
        if keys and recipe is not None and "$" not in " ".join(keys):
            yield pytest.param(recipe, keys, id=case.id)


@pytest.mark.parametrize(("recipe", "keys"), list(overridden()))
def test_overrides_in_the_docs_fit_their_recipes(recipe, keys):
    from enface.recipe.load import load_recipe

    load_recipe(recipe, keys)

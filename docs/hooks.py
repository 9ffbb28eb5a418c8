"""Pages of the catalog, one a kind, made from the components themselves whenever the documentation is built.

MkDocs calls ``on_files``; nothing that is made here lies on disk, so nothing can be stale.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mkdocs.structure.files import File, Files

from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins
from enface_tools.catalog import text as words
from enface_tools.catalog.describe import PLURALS, ComponentInfo, describe_components

INTROS = {
    "loss": (
        "A loss gives a map of errors; the term that names it masks, averages and weighs that: see "
        "[how terms are normalised](normalisation.md). **Asks for** are the names that it gets: see "
        "[the names a term can ask for](../researcher/data.md#names-that-terms-can-request)."
    ),
    "mask": "A mask says how heavy each pixel is. It stands under `masks:` in a recipe, and terms name it.",
    "discriminator": (
        "A critic judges target and output. It stands under `discriminators:` in a stage, and terms are `against:` it: "
        "see [a discriminator](discriminator.md)."
    ),
    "augmentation": "A random change to what a critic is shown, real and fake alike: a discriminator's `augment:`.",
    "schedule": "A number that changes with the step, for `lr:`, `weight:` and whatever else may be a schedule.",
    "generator": "The network that makes the output.",
    "dataset": "Where images come from; packing, splitting and pairing are the core's.",
    "metric": "A number for each image, of output and target in [0, 1].",
    "optimizer": "An optimizer beside those of torch.optim, for `optimizer:` in a stage or discriminator.",
    "launcher": "Starts the runs of a sweep, for `launcher:` in a sweep's file.",
}
# What is worth saying of a claim, held or not.
CLAIMED = {
    ("distance", True): "0 where output equals target",
    ("non_negative", True): "never below 0",
    ("per_image", False): "an image's number depends on its batch",
    ("deterministic", False): "the same images give other numbers each time",
    ("stateful", True): "what it keeps is part of a checkpoint",
}
# What a docstring says in one line each, and the list these become.
LABELS = re.compile(r"(?:^|(?<=[.)\]`\w] ))(Shapes?|Range|Unit|Provides|Parts|Columns|Source): ")
ROLE = re.compile(r":\w+:<code>~?(?:[\w.]*\.)?(\w+)</code>")
CODE = re.compile(r"(``.+?``|`[^`]+`)", re.S)


def page_of(kind: str) -> str:
    """Where a kind's page lies."""
    return f"plugins/{PLURALS[kind]}.md"


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each kind."""
    manager = load_plugins()
    everything = describe_components(Catalog(manager), manager)
    for kind in PLURALS:
        entries = sorted(
            (about for about in everything if about.entry.kind == kind), key=lambda about: about.entry.name
        )
        files.append(File.generated(config, page_of(kind), content=page(kind, entries)))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """References to other classes in docstrings as their bare names, as everywhere else."""
    return ROLE.sub(r"<code>\1</code>", html)


def page(kind: str, entries: list[ComponentInfo]) -> str:
    """The page of a kind: a table of its components, then each."""
    rows = [f"| [`{about.entry.name}`{{.name}}](#{about.entry.name}) | {cell(about.summary)} |" for about in entries]
    head = [f"# {PLURALS[kind].capitalize()}", INTROS[kind], "\n".join(["| `use:` | what |", "|---|---|", *rows])]
    return "\n\n".join([*head, *(part for about in entries for part in component(about))]) + "\n"


def component(about: ComponentInfo) -> Iterator[str]:
    """What there is to say of one component, part by part."""
    yield f"## `{about.entry.name}` {{#{about.entry.name}}}"
    for paragraph in words.body(about.docstring).split("\n\n"):
        yield prose(paragraph)
    yield from facts(about)
    if about.parameters:
        rows = [
            f"| `{item.name}`{{.name}}<br>{escaped(item.type)}<br>{default(item.default)} | {cell(item.help)} |"
            for item in about.parameters
        ]
        yield "\n".join(["| parameter | meaning |", "|---|---|", *rows])
    for title, text in words.sections(about.docstring).items():
        if title == "Raises":
            found = re.findall(r"^(\w+): (.*?)(?=^\w|\Z)", text, re.S | re.M)
            yield "**Refused**\n\n" + "\n".join(f"- {escaped(' '.join(why.split()))}" for _, why in found)
        elif title == "Source":
            yield f"**Source**: {escaped(' '.join(text.split()))}"


def facts(about: ComponentInfo) -> Iterator[str]:
    """A list of what only its kind has."""
    found, lines = about.facts, []
    for side, names in found.get("requests", {}).items():
        of = f" in `{side}`" if len(found["requests"]) > 1 else ""
        asked = [f"`{name}`{' (if there is)' if name in found['optional'] else ''}" for name in names]
        if asked:
            lines.append(f"**Asks for**{of}: {', '.join(asked)}")
    if found.get("unit"):
        lines.append(f"**Each number**: {found['unit']}")
    if "provides" in found and "Provides:" not in about.docstring:
        lines.append(f"**Provides**: {', '.join(f'`{name}`' for name in found['provides'])}")
    held = found.get("claims", {}).items()
    claims = [CLAIMED[claim, holds] for claim, holds in held if (claim, holds) in CLAIMED]
    if claims:
        lines.append(f"**Claims**: {'; '.join(claims)}")
    if found.get("higher_is_better") is not None:
        lines.append(f"**Better**: {'higher' if found['higher_is_better'] else 'lower'}")
    if lines:
        yield "\n".join(f"- {line}" for line in lines)


def prose(paragraph: str) -> str:
    """A paragraph of a docstring; one of labels (``Shapes: ... Range: ...``) as a list."""
    text = " ".join(paragraph.split())
    if not LABELS.match(text):
        return escaped(text)
    parts = LABELS.split(text)[1:]
    return "\n".join(
        f"- **{label}**: {escaped(said.strip())}" for label, said in zip(parts[::2], parts[1::2], strict=True)
    )


def default(text: str) -> str:
    return "**required**" if text == "required" else f"default `{text}`"


def cell(text: str) -> str:
    """Text for a table's cell; empty where there is none."""
    return escaped(" ".join(text.split())) or "&nbsp;"


def escaped(text: str) -> str:
    """Text as it stands: formulas are not Markdown. Code stays code."""
    parts = CODE.split(text)
    return "".join(f"`{part.strip('`')}`" if index % 2 else as_it_is(part) for index, part in enumerate(parts))


def as_it_is(text: str) -> str:
    for sign, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;")):
        text = text.replace(sign, name)
    return re.sub(r"([\\*_\[\]{}#])", r"\\\1", text)

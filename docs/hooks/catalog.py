"""Generate the pages of the catalog, one per kind, from the components whenever the documentation is built.

MkDocs calls ``on_files``. The pages are never written to the source tree, so they cannot be out of date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from markdown_text import cell, escaped
from mkdocs.structure.files import File, Files

from enface.plugin.catalog import Catalog
from enface.plugin.manager import load_plugins
from enface_tools.catalog import text
from enface_tools.catalog.describe import PLURALS, ComponentInfo, describe_components

INTROS = {
    "loss": (
        "A loss returns a map of errors; the term that names it masks, averages and weights the map: see "
        "[normalisation of terms](normalisation.md). **Requests** are the names that are passed to it: see "
        "[names that terms can request](../researcher/data.md#names-that-terms-can-request)."
    ),
    "mask": "A mask is a weight for every pixel. A recipe defines masks under `masks:`, and terms name them.",
    "discriminator": (
        "A discriminator classifies targets and outputs. A stage defines it under `discriminators:`, and terms are "
        "`against:` it: see [a discriminator](discriminator.md)."
    ),
    "augmentation": "A random change to a critic's input images, real and fake: `augment:` of a discriminator.",
    "schedule": "A number that depends on the step, for `lr:`, `weight:` and other schedulable numbers.",
    "generator": "The network that produces the output.",
    "dataset": "A source of images; the core packs, splits and pairs them.",
    "metric": "A number per image, from output and target in [0, 1].",
    "optimizer": (
        "For `optimizer:` of a stage or discriminator. Besides these components, every optimizer of `torch.optim` "
        "except `LBFGS` and `SparseAdam` can be used by its lower-case name, as in `{use: adamw, lr: 1.0e-3}`. "
        "`groups:` divides the parameters by part of the generator and number of dimensions: see "
        "[optimizers](../researcher/recipes.md#optimizers). `prodigy`, `pytorch_optimizer` and the schedule-free ones "
        'need `pip install "enface[optimizers]"`.'
    ),
    "launcher": (
        "Starts the runs of a sweep, for `launcher:` in a sweep file: see "
        "[many runs](../researcher/runs.md#on-a-cluster)."
    ),
}
# Descriptions of claims, by claim and value; other claims are not mentioned.
CLAIMS = {
    ("distance", True): "0 if output equals target",
    ("non_negative", True): "never below 0",
    ("per_image", False): "the value for an image depends on its batch",
    ("deterministic", False): "values for the same images differ between calls",
    ("paired", True): "it compares each target with its own output, so both get the same augmentation",
    ("stateful", True): "its state is saved in checkpoints",
}
# Labels of one-line properties in a docstring; they become a list.
LABELS = re.compile(r"(?:^|(?<=[.)\]`\w] ))(Shapes?|Range|Unit|Provides|Parts|Columns|Source): ")
ROLE = re.compile(r":\w+:<code>~?(?:[\w.]*\.)?(\w+)</code>")


def page_of(kind: str) -> str:
    """Return the path of a kind's page."""
    return f"plugins/{PLURALS[kind]}.md"


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each kind."""
    manager = load_plugins()
    components = describe_components(Catalog(manager), manager)
    for kind in PLURALS:
        of_kind = sorted((info for info in components if info.entry.kind == kind), key=lambda info: info.entry.name)
        files.append(File.generated(config, page_of(kind), content=page(kind, of_kind)))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Replace references to classes in docstrings by their bare names."""
    return ROLE.sub(r"<code>\1</code>", html)


def page(kind: str, components: list[ComponentInfo]) -> str:
    """Return the page of a kind: a table of its components, then a section for each."""
    rows = [f"| [`{info.entry.name}`{{.name}}](#{info.entry.name}) | {cell(info.summary)} |" for info in components]
    head = [f"# {PLURALS[kind].capitalize()}", INTROS[kind], "\n".join(["| `use:` | summary |", "|---|---|", *rows])]
    return "\n\n".join([*head, *(part for info in components for part in section(info))]) + "\n"


def section(info: ComponentInfo) -> Iterator[str]:
    """Yield the paragraphs of a component's section."""
    yield f"## `{info.entry.name}` {{#{info.entry.name}}}"
    for paragraph in text.body(info.docstring).split("\n\n"):
        yield prose(paragraph)
    yield from facts(info)
    if info.parameters:
        rows = [
            f"| `{item.name}`{{.name}}<br>{escaped(item.type)}<br>{default(item.default)} | {cell(item.help)} |"
            for item in info.parameters
        ]
        yield "\n".join(["| parameter | meaning |", "|---|---|", *rows])
    for title, content in text.sections(info.docstring).items():
        if title == "Raises":
            errors = re.findall(r"^\w+: (.*?)(?=^\w|\Z)", content, re.S | re.M)
            yield "**Errors**\n\n" + "\n".join(f"- {escaped(' '.join(reason.split()))}" for reason in errors)
        elif title == "Source":
            yield f"**Source**: {escaped(' '.join(content.split()))}"


def facts(info: ComponentInfo) -> Iterator[str]:
    """Yield a list of the properties that are specific to its kind, if there are any."""
    facts, lines = info.facts, []
    for side, names in facts.get("requests", {}).items():
        method = f" in `{side}`" if len(facts["requests"]) > 1 else ""
        requests = [f"`{name}`{' (if available)' if name in facts['optional'] else ''}" for name in names]
        if requests:
            lines.append(f"**Requests**{method}: {', '.join(requests)}")
    if facts.get("unit"):
        lines.append(f"**Values**: {facts['unit']}")
    if "provides" in facts and "Provides:" not in info.docstring:
        lines.append(f"**Provides**: {', '.join(f'`{name}`' for name in facts['provides'])}")
    claims = [CLAIMS[claim] for claim in facts.get("claims", {}).items() if claim in CLAIMS]
    if claims:
        lines.append(f"**Claims**: {'; '.join(claims)}")
    if facts.get("higher_is_better") is not None:
        lines.append(f"**Better**: {'higher' if facts['higher_is_better'] else 'lower'}")
    if lines:
        yield "\n".join(f"- {line}" for line in lines)


def prose(paragraph: str) -> str:
    """Return a paragraph of a docstring as Markdown; labels (``Shapes: ... Range: ...``) become a list."""
    line = " ".join(paragraph.split())
    if not LABELS.match(line):
        return escaped(line)
    parts = LABELS.split(line)[1:]
    return "\n".join(
        f"- **{label}**: {escaped(content.strip())}" for label, content in zip(parts[::2], parts[1::2], strict=True)
    )


def default(value: str) -> str:
    return "**required**" if value == "required" else f"default `{value}`"

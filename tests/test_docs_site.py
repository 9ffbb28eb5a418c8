"""The built documentation: links, references of keys, commands and names, search."""

from __future__ import annotations

import ast
import functools
import html
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as MkDocs builds it, without any warning and without a network."""
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package)
    out = tmp_path_factory.mktemp("site")
    # No server is behind this address: a build that needs the network fails.
    offline = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(out)],
        cwd=ROOT,
        env=os.environ | offline,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return out


def words(page: Path) -> str:
    """The text of a page's article, with one space between words."""
    article = re.search(r"<article.*?</article>", page.read_text(encoding="utf-8"), re.S)
    assert article is not None
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", article[0])).split())


# ---------------------------------------------------------------------- references


def keys_of(model: dict[str, Any], definitions: dict[str, Any], place: str = "") -> Iterator[str]:
    """Yield every key of a recipe by its JSON Schema: ``stages.NAME.terms.NAME.weight``."""
    for key, schema in model["properties"].items():
        path = f"{place}.{key}".lstrip(".")
        yield path
        for name, within in references(schema):
            if name != "ScheduleSpec":
                yield from keys_of(definitions[name], definitions, f"{path}.NAME" if within else path)


def references(schema: Any, within: bool = False) -> Iterator[tuple[str, bool]]:
    if isinstance(schema, list):
        for item in schema:
            yield from references(item, within)
    elif isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2], within
        for key, item in schema.items():
            yield from references(item, within or key in ("additionalProperties", "patternProperties"))


def test_every_key_is_in_the_reference_of_keys(site):
    from enface.recipe.models import Recipe

    schema = Recipe.model_json_schema()
    shown = (site / "researcher/keys/index.html").read_text(encoding="utf-8")
    sections = {}
    for section in re.split(r"<h2 ", shown)[1:]:
        heading = section.partition("</h2>")[0]
        also = re.search(r"<p>Also: (.*?)</p>", section, re.S)
        titles = re.findall(r"<code>([\w.]+)</code>", heading + (also[1] if also else ""))
        keys = set(re.findall(r'<td><code class="name">(\w+)</code>', section))
        sections |= {title: keys for title in titles or [""] if titles or "The recipe" in heading}
    keys = list(keys_of(schema, schema["$defs"]))
    assert len(keys) > 100
    for key in keys:
        place, _, name = key.rpartition(".")
        if name == "use" and place not in sections:
            assert f"<td><code>{place}</code></td>" in shown, key  # a map without keys but those of components
        else:
            assert name in sections[place], key


def test_the_reference_of_keys_gives_type_range_default_and_meaning(site):
    text = words(site / "researcher/keys/index.html")
    assert "batch integer >= 1 default: 32 Images per optimizer step, over all processes." in text
    assert "decay number > 0 and <= 0.999999 required" in text
    assert "size integer from 8 to 2048 or list of 2 integers from 8 to 2048 default: 96" in text
    assert "mask_on one of error, images default: error" in text
    assert "steps integer >= 1 required Optimizer steps of the generator." in text


def command_line() -> Iterator[tuple[str, Any]]:
    """Yield the path and the command of each leaf of the command line."""
    from typer.main import get_command

    from enface.cli import application

    def leaves(path: str, command: Any) -> Iterator[tuple[str, Any]]:
        if not getattr(command, "commands", None):
            yield path, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from leaves(f"{path} {name}", inner)

    yield from leaves("enface", get_command(application()))


def test_every_command_with_its_options_is_in_the_reference_of_commands(site):
    page = (site / "researcher/cli/index.html").read_text(encoding="utf-8")
    sections = {
        html.unescape(re.search(r"<code>(.*?)</code>", part)[1]): html.unescape(part)  # type: ignore[index]
        for part in page.split("<h2 ")[1:]
        if "<code>enface" in part
    }
    commands = dict(command_line())
    assert set(sections) == set(commands)
    assert len(commands) > 25
    for path, command in commands.items():
        for item in command.params:
            if not getattr(item, "hidden", False):
                names = [item.name.upper()] if item.param_type_name == "argument" else item.opts
                assert all(re.search(rf"<code[^>]*>[^<]*{re.escape(name)}\b", sections[path]) for name in names), (
                    path,
                    names,
                )


def test_the_reference_of_commands_gives_default_range_and_meaning(site):
    text = words(site / "researcher/cli/index.html")
    assert "--bits N 4 Of 64 hash bits, how many may differ between near duplicates. (0 to 16)" in text
    assert "--split val/test val People to measure" in text
    assert "FOLDER required A folder of image pairs." in text


def test_every_exported_name_is_on_the_page_of_the_python_api(site):
    stub = (ROOT / "core/enface/__init__.pyi").read_text(encoding="utf-8")
    names = set(re.findall(r"(\w+) as \1\b", stub))
    names |= {item.name for item in importlib.metadata.entry_points(group="enface.functions")}
    assert len(names) > 40
    page = (site / "python/index.html").read_text(encoding="utf-8")
    for name in names:
        link = re.search(rf'href="([^"]*)"><code class="name">{name}</code></a><br', page)
        assert link is not None, name
        path, _, anchor = link[1].partition("#")
        target = (site / "python" / path / "index.html" if path else site / "python/index.html").resolve()
        assert f'id="{anchor}"' in target.read_text(encoding="utf-8"), name
    text = words(site / "python/index.html")
    assert 'train (recipe, *, runs="runs", resume=False, overrides=(), progress=None)' in text
    assert "natural_key (value)" in text


# ---------------------------------------------------------------------- questions and faults


@functools.cache
def texts_of_the_source() -> set[str]:
    """Every text in the source, as it is printed, with a zero byte for each inserted value."""
    texts = set()
    for path in [*(ROOT / "core").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
                texts.add("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
    return texts


MESSAGES = re.findall(
    r"^### .*?`(.*\.\.\..*|.* .*)`$", (ROOT / "docs/researcher/faq.md").read_text(encoding="utf-8"), re.M
)


def test_messages_are_found_on_the_page_of_questions():
    assert len(MESSAGES) > 15


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_of_the_page_of_questions_is_printed_by_the_source(message):
    # An ellipsis stands for any text, and at the start or end of a message also for further sentences.
    pattern = re.compile(".*?".join(map(re.escape, message.split("..."))), re.S)
    assert any(pattern.search(text) for text in texts_of_the_source()), message


# ---------------------------------------------------------------------- search and links


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("wandb", "researcher/faq/#wandb-mlflow-tensorboard"),
        ("mlflow", "researcher/faq/#wandb-mlflow-tensorboard"),
        ("docker", "researcher/faq/#docker"),
        ("notebooks", "researcher/faq/#notebooks-jupyter-colab"),
        ("early stopping", "researcher/recipes/#early-stopping"),
        ("EMA", "researcher/keys/#stages-ema"),
        ("checkerboard", "plugins/metrics/#checkerboard"),
        ("16 bit", "researcher/faq/#grey-16-bit-rgba-and-more-than-three-channels"),
        ("resume", "researcher/runs/"),
        ("slurm", "researcher/faq/#slurm-ray-torchrun"),
        ("out of memory", "researcher/faq/#out-of-memory"),
        ("weight", "researcher/losses/"),
    ],
)
def test_the_search_finds_what_users_look_for(site, query, page):
    """The words are in the title or text of the section, of which the index of the search has an entry."""
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))
    sections = {item["location"]: f"{item['title']} {item['text']}" for item in index["docs"]}
    assert re.search(rf"\b{query}\b", sections[page], re.I)
    assert index["config"]["lang"] == ["en"]


def test_links_to_other_sites_are_complete_addresses():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((\w+:[^)\s]*)\)", page.read_text(encoding="utf-8")):
            assert re.fullmatch(r"https://[\w.-]+\.[a-z]{2,}(/[\w.~/%#?=&:+-]*)?", link), f"{page.name}: {link}"


def test_links_of_the_readme_name_sections_that_exist(site):
    for path, anchor in re.findall(r"\]\(docs/([\w/-]+)\.md#([\w-]+)\)", (ROOT / "README.md").read_text("utf-8")):
        page = site / path.removesuffix("index") / "index.html"
        assert f'id="{anchor}"' in page.read_text(encoding="utf-8"), (path, anchor)

"""Examples in the README and the docs work as written."""

from __future__ import annotations

import html
import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from enface.recipe.load import load_recipe

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


def save_shown_plugins(page: Path, folder: Path) -> list[Path]:
    """Write the Python files that a page asks its reader to save."""
    plugins = re.findall(r"as `(\w+\.py)`[^`]*\n\n```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)
    for name, text in plugins:
        snippet = re.fullmatch(r'--8<-- "(.*)"\n', text)
        text = (ROOT / snippet[1]).read_text(encoding="utf-8") if snippet else text
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name, _ in plugins]


def test_the_ten_line_loss_has_ten_lines_and_is_the_tested_one():
    shown, _ = blocks(ROOT / "README.md", "python")
    assert shown == (ROOT / "tests/support/cauchy.py").read_text(encoding="utf-8")
    assert len(shown.splitlines()) == 10


def test_the_ten_line_loss_trains(enface, recipe, tmp_path):
    plugin = ROOT / "tests/support/cauchy.py"
    toy = ROOT / "tests/support/toy_faces.py"
    terms = {"l1": False, "cauchy": {"weight": 1, "scale": 0.2}}
    with_loss = recipe({"name": "cauchy", "plugins": [str(plugin), str(toy)], "stages": {"main": {"terms": terms}}})
    outcome = enface("run", with_loss, "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    (log,) = (tmp_path / "runs").glob("*/*/log.jsonl")
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    values = [entry["values"]["term/cauchy"] for entry in entries if entry["event"] == "step"]
    assert values[-1] < values[0]


def test_the_ten_line_loss_fails_exactly_the_rules_that_its_page_names(enface):
    outcome = enface("test-plugin", ROOT / "tests/support/cauchy.py", "--json")
    (component,) = json.loads(outcome.out)["components"]
    failed = [verdict["rule"] for verdict in component["verdicts"] if verdict["result"] == "failed"]
    assert failed == ["docstring", "parameter help"]
    page = (ROOT / "docs/plugins/loss.md").read_text(encoding="utf-8")
    assert all(f"`{rule}`" in page for rule in failed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_whole_recipes_in_the_docs_are_valid(page, tmp_path):
    save_shown_plugins(page, tmp_path)
    for number, text in enumerate(blocks(page, "yaml")):
        if "extends:" not in text:
            continue
        text = re.sub(r"extends: (?:recipes/)?(\S+)", rf"extends: {ROOT}/recipes/\1", text)
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        load_recipe(path)


# A base.yaml is a parent only: it has no stages of its own.
RECIPES = [path for path in sorted((ROOT / "recipes").rglob("*.yaml")) if path.stem != "base"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid(path):
    load_recipe(path)


def test_links_between_pages_have_targets(hooks):
    # MkDocs checks links within the site (tests/test_docs_site.py); the README has others.
    generated = {(ROOT / "docs" / hooks.page_of(kind)).resolve() for kind in hooks.PLURALS}
    generated |= {ROOT / "docs/researcher/keys.md", ROOT / "docs/researcher/cli.md"}
    pages = {page: page.read_text(encoding="utf-8") for page in PAGES}
    pages |= {ROOT / "docs" / hooks.page_of(kind): text for kind, text in hooks.INTROS.items()}
    for page, text in pages.items():
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            if not link.startswith("http"):
                target = (page.parent / link).resolve()
                assert target.exists() or target in generated, f"{page.name}: {link}"


# ---------------------------------------------------------------------- a discriminator

CRITIC = ROOT / "docs" / "plugins" / "discriminator.md"


def test_the_discriminator_of_the_docs_is_updated_at_the_steps_on_its_page(enface, recipe, tmp_path):
    (plugin,) = save_shown_plugins(CRITIC, tmp_path)
    shown = next(yaml.safe_load(text) for text in blocks(CRITIC, "yaml") if "extends:" in text)
    stage = {**shown["stages"]["adversarial"], "steps": 70, "batch": 2}
    toy = ROOT / "tests/support/toy_faces.py"
    keys = {"plugins": [str(plugin), str(toy)], "stages": {"main": False, "adversarial": stage}, "log": {"every": 1}}
    outcome = enface("run", recipe({"name": "critic", **keys}), "--runs", tmp_path / "runs")
    assert outcome.code == 0, outcome.err
    (log,) = (tmp_path / "runs").glob("*/*/log.jsonl")
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [entry["values"] for entry in entries if entry["event"] == "step"]
    assert len(steps) == 70
    critic = [number for number, values in enumerate(steps) if "term/pair.gan" in values]
    assert critic == list(range(20, 70, 2))
    generator = [number for number, values in enumerate(steps) if "term/gan" in values]
    assert generator == list(range(60, 70))


# ---------------------------------------------------------------------- a metric


def test_the_metrics_of_the_docs_pass_every_rule(enface, tmp_path):
    (plugin,) = save_shown_plugins(ROOT / "docs" / "plugins" / "metric.md", tmp_path)
    outcome = enface("test-plugin", plugin, "--json")
    components = {component["name"]: component["verdicts"] for component in json.loads(outcome.out)["components"]}
    verdicts = [(name, verdict) for name, verdicts in components.items() for verdict in verdicts]
    assert [(name, verdict) for name, verdict in verdicts if verdict["result"] == "failed"] == []
    passed = {(name, verdict["rule"]) for name, verdict in verdicts if verdict["result"] == "passed"}
    assert ("edge_error", "only the region counts") in passed
    assert ("mean_image", "order in a set") in passed
    assert ("color_match", "gallery") in passed


# ---------------------------------------------------------------------- normalisation of terms


def term_of(error: Any, mask: Any = None, on: str = "error", names: Any = None) -> float:
    """Value of a term with this map."""
    from enface.plugin.components import Constant
    from enface.training.terms import MaskUse, Term

    use = MaskUse("mask", lambda: mask, {}, on) if mask is not None else None
    requests = {"output": "output", "target": "target"}
    return float(Term("t", lambda output, target: error(output, target), requests, Constant(value=1.0), use)(names))


def test_a_term_does_not_depend_on_image_size_or_batch_size():
    for count, size in ((1, 8), (4, 8), (2, 32)):
        names = {"output": torch.full((count, 3, size, size), 0.5), "target": torch.zeros(count, 3, size, size)}
        assert term_of(lambda a, b: (a - b).abs(), names=names) == pytest.approx(0.5)


def test_the_numbers_about_masks_on_the_page_are_right():
    names = {"output": torch.full((1, 3, 96, 96), 0.5), "target": torch.zeros(1, 3, 96, 96)}
    mask = torch.ones(1, 1, 96, 96)
    mask.flatten()[:1282] = 5
    absolute, squared = (lambda a, b: (a - b).abs()), (lambda a, b: (a - b).square())
    assert term_of(absolute, mask, names=names) / 0.5 == pytest.approx(1.556, abs=5e-4)
    assert term_of(absolute, mask, "images", names) == pytest.approx(term_of(absolute, mask, names=names))
    assert term_of(squared, mask, "images", names) == pytest.approx(term_of(squared, mask.square(), names=names))
    share = mask / mask.mean()
    assert (round(float(share.max()), 1), round(float(share.min()), 2)) == (3.2, 0.64)
    text = (ROOT / "docs/plugins/normalisation.md").read_text(encoding="utf-8")
    assert all(
        number in text for number in ("1.556", "3.2 times", "0.64 times", "25-fold", "16,384", "1.2e-3", "4.1e-4")
    )
    assert (f"{20 / 128**2:.1e}", f"{20 / (3 * 128**2):.1e}") == ("1.2e-03", "4.1e-04")


# ---------------------------------------------------------------------- the catalog


@pytest.fixture(scope="module")
def hooks() -> Any:
    """The hook with which MkDocs builds the pages of the catalog."""
    pytest.importorskip("mkdocs")
    with pytest.MonkeyPatch.context() as patch:
        # MkDocs does so, too.
        patch.syspath_prepend(ROOT / "docs" / "hooks")
        return importlib.import_module("catalog")


@pytest.fixture(scope="module")
def catalog_pages(hooks: Any) -> dict[str, str]:
    """The generated pages of the catalog, by kind."""
    from types import SimpleNamespace

    from mkdocs.structure.files import Files

    config = SimpleNamespace(use_directory_urls=True, site_dir="site", plugins=SimpleNamespace(_current_plugin="hooks"))
    files = hooks.on_files(Files([]), config)
    return {kind: files.get_file_from_path(hooks.page_of(kind)).content_string for kind in hooks.PLURALS}


def bare(text: str) -> str:
    return re.sub(r"[\s`]+", "", text)


def test_every_component_is_on_its_page_with_literal_formulas(catalog_pages):
    from enface.plugin.catalog import Catalog
    from enface.plugin.manager import load_plugins
    from enface_tools.catalog import text as docstrings
    from enface_tools.catalog.describe import describe_components

    markdown = pytest.importorskip("markdown")
    manager = load_plugins()
    shown = {}
    for kind, text in catalog_pages.items():
        rendered = markdown.markdown(text, extensions=["attr_list", "tables", "toc"])
        shown[kind] = bare(html.unescape(re.sub(r"<[^>]+>", "", rendered)))
        assert rendered.count("<table>") == text.count("|---|---|")
    for info in describe_components(Catalog(manager), manager):
        page = shown[info.entry.kind]
        for paragraph in docstrings.body(info.docstring).split("\n\n"):
            assert bare(paragraph) in page, f"{info.entry.name}: {paragraph}"
        for item in info.parameters:
            assert bare(f"{item.name}{item.type}") in page, f"{info.entry.name}: {item.name}"
            assert bare(item.help) in page, f"{info.entry.name}: {item.name}"


def test_the_optimizers_page_names_the_exceptions(hooks):
    from enface.recipe.optimizers import torch_optimizers

    classes = {item.__name__ for item in torch.optim.Optimizer.__subclasses__() if item.__module__.startswith("torch.")}
    exceptions = {name for name in classes & set(vars(torch.optim)) if name.lower() not in torch_optimizers()}
    (sentence,) = re.findall(r"every optimizer of `torch.optim` except (.*?) can be", hooks.INTROS["optimizer"])
    assert exceptions == set(re.findall(r"`(\w+)`", sentence))


def test_the_launchers_of_the_docs_are_valid():
    from enface.plugin.catalog import Catalog
    from enface.plugin.manager import load_plugins

    catalog = Catalog(load_plugins())
    page = (ROOT / "docs/researcher/runs.md").read_text(encoding="utf-8")
    lines = re.findall(r"^launcher: .*$", page, re.M)
    assert len(lines) == 4
    for line in lines:
        spec = yaml.safe_load(line)["launcher"]
        options = {"use": spec} if isinstance(spec, str) else spec
        catalog.build("launcher", options.pop("use"), options)


def test_formulas_are_not_parsed_as_markdown(hooks):
    markdown = pytest.importorskip("markdown")
    text = "*a* _b_ [c](d) <e> |f| \\g & {#h} ``i*`` __j__"
    rendered = markdown.markdown(
        f"| x |\n|---|\n| {hooks.escaped(text)} |",
        extensions=["attr_list", "tables"],
    )
    assert html.unescape(re.sub(r"<[^>]+>", "", rendered)).split("\n")[-4] == text.replace("``", "")


def test_the_site_has_a_page_for_each_kind(hooks):
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert all(f": {hooks.page_of(kind)}\n" in nav for kind in hooks.PLURALS)
    assert not [kind for kind in hooks.PLURALS if (ROOT / "docs" / hooks.page_of(kind)).exists()]

"""Commands in the docs and the README: each is parsed, and those that need no cluster, network or hours are run."""

from __future__ import annotations

import functools
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

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


@functools.cache
def command_line() -> Any:
    """The command line with the commands of all installed plugins."""
    from typer.main import get_command

    from enface.cli import application

    return get_command(application())


def parse(words: list[str], *, whole: bool) -> None:
    """Parse a command as the command line does; names of runs are not looked up.

    Args:
        whole: Require all arguments, and check values. Otherwise only the command and its options must exist.
    """
    command = command_line()
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


# ---------------------------------------------------------------------- running

# Commands that are not run here, by a part of them, and the reason.
NOT_RUN = {
    "recipes/seed/|recipes/artifacts/|nine_seeds.yaml|artifacts-longer|seed-small-frmdb": "trains for hours",
    "recipes/photos/|recipes/frmdb": "photographs that are not part of enface; tests/benchmarks/test_photos.py",
    "evaluate runs/.seed|results/": "tests/tools/evaluate, tests/tools/compare, tests/tools/report",
    "s3://|weights fetch": "needs a network; tests/tools/packs and tests/tools/weights have local servers and files",
    "--launcher slurm": "needs Slurm; tests/tools/sweep has a stand-in",
    "--processes": "several processes: tests/tools/launch",
    "--watch|masks draw": "waits for the user: tests/tools/report, tests/tools/masks",
    "own-pairs:|coming-from:|sharing:|evaluate-pairs:|audit mine|losses: check": "tests of their own pages and tools",
    "hello|pair.critic|own_metrics|masks: ": "run in tests/test_docs.py, tests/tools/masks",
    "data.seed=0": "keys of synthetic_heads, which the small recipe does without",
    "--part|find-batch|calibrate": "tests/tools/packs, tests/tools/tune, tests/tools/calibrate",
    "init faces|faces.yaml": "tests/tools/init/test_own_pairs_page.py",
}
SMALL_RECIPE = {
    "extends": str(ROOT / "recipes/quickstart.yaml"),
    "plugins": [str(ROOT / "tests/support/toy_faces.py")],
    "name": "quickstart",
    "data": {"use": "toy_faces", "identities": 15, "lights": 1, "size": 32, "split": {"train": 5, "val": 5, "test": 5}},
    "generator": {"use": "unet", "width": 4, "depth": 3, "norm": "batch"},
    "stages": {
        "pixels": {"steps": 2, "batch": 2},
        "adversarial": {"steps": 2, "batch": 2, "discriminators": {"patch": {"width": 4, "layers": 2}}},
    },
    "metrics": ["mae", "ssim"],
    "evaluation": {"regions": dict.fromkeys(("face", "boundary", "eyes", "mouth", "glasses"), False)},
    "log": {"every": 1, "samples": 0, "checkpoint": 2, "validate": 2, "best": "mae"},
}
# Names on the pages that stand for those of the folder in which the commands run.
STAND_INS = {
    "RECIPE": "recipes/quickstart.yaml",
    "recipes/tiny.yaml": "recipes/quickstart.yaml",
    "RUN": "runs/quickstart/1",
    "runs/NAME/ID": "runs/quickstart/1",
    "quickstart/20261130-151452": "quickstart/1",
    "runs/quickstart-huber-steps800/ID": "runs/huber/1",
    "runs/quickstart-control-steps800": "runs/control",
    "runs/quickstart-huber-steps800": "runs/huber",
    "runs/quickstart": "runs/control",
    "RUN/evaluation/val/checkpoints/control": "runs/quickstart/1/evaluation/val/checkpoints/pixels",
    "RUN/evaluation/val/checkpoints/mask_l1": "runs/quickstart/1/evaluation/val/checkpoints/adversarial",
    "only_l1": "pixels",
    "mask_l1": "pixels",
    "ladder-*": "cont*",
    "sharpness": "ssim",
    "OUTPUTS": "outputs",
    "TARGETS": "targets",
    "pose,glasses": "pose",
    "pose,light": "pose",
    "stages.main.steps=2000": "stages.adversarial.steps=4",
    "cauchy.py": str(ROOT / "tests/support/cauchy.py"),
    "loss/soft_edges": "loss/l1",
}
NAMES = ("control", "idea", "base", "more_lpips", "gan", "huber", "charbonnier", "nine-seeds", "edges")


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small quickstart, a run of it, runs of other names with two seeds, and images."""
    from PIL import Image

    from enface import evaluate, train

    folder = tmp_path_factory.mktemp("laboratory")
    (folder / "recipes").mkdir()
    recipe = folder / "recipes/quickstart.yaml"
    recipe.write_text(yaml.safe_dump(SMALL_RECIPE, sort_keys=False), encoding="utf-8")
    shutil.copy(recipe, folder / "recipe.yaml")
    variants = {"control": {}, "huber": {"stages.pixels.terms.l1.use": "huber"}}
    sweep = {"recipe": "recipes/quickstart.yaml", "seeds": [0], "variants": variants}
    (folder / "ideas.yaml").write_text(yaml.safe_dump(sweep), encoding="utf-8")
    runs = folder / "runs"
    for seed in (0, 1):
        run = train(recipe, runs=runs, overrides=[f"seed={seed}", "name=first"])
        for checkpoint in ("last", "pixels", "adversarial"):
            evaluate(run, checkpoint=checkpoint)
        for name in ("quickstart", *NAMES) if seed == 0 else NAMES:
            copy = shutil.copytree(run.directory, runs / name / str(seed + 1))
            saved = (copy / "recipe.yaml").read_text(encoding="utf-8").replace("name: first", f"name: {name}", 1)
            (copy / "recipe.yaml").write_text(saved, encoding="utf-8")
    shutil.rmtree(runs / "first")
    for number in range(6):
        for place in ("outputs", "targets", "holiday"):
            (folder / place).mkdir(exist_ok=True)
            level = 40 * number + (10 if place == "outputs" else 0)
            Image.new("RGB", (32, 32), (level, 90, 120)).save(folder / place / f"{number}.png")
    shutil.copy(folder / "holiday/1.png", folder / "photo.png")
    Image.open(folder / "photo.png").save(folder / "photo.jpg")
    return folder


def runnable() -> Iterator[Any]:
    """Every different command that is run, with the stand-ins of its names."""
    seen = set()
    for case in cases():
        if not any(re.search(part, case.id or "") for part in NOT_RUN):
            words = [re.sub(r"\blpips\b", "mae", STAND_INS.get(word, word)) for word in case.values[0]]
            if words[0] in ("run", "check", "data"):
                words = ["recipes/quickstart.yaml" if word == "quickstart" else word for word in words]
            if words[0] == "evaluate":
                words = ["adversarial" if word == "control" else word for word in words]
            if tuple(words) not in seen:
                seen.add(tuple(words))
                yield pytest.param(words, id=" ".join(words))


def test_every_reason_not_to_run_a_command_is_of_use():
    ids = [str(case.id) for case in cases()]
    for part in NOT_RUN:
        assert all(any(re.search(piece, item) for item in ids) for piece in part.split("|")), part
    assert len(list(runnable())) > 35


@pytest.mark.parametrize("words", list(runnable()))
def test_commands_of_the_docs_run(enface, laboratory, monkeypatch, words):
    monkeypatch.chdir(laboratory)
    outcome = enface(*words)
    # A rule that a plugin fails is a result, too; the page of the loss says which rules its ten lines fail.
    assert outcome.code == (1 if words[0] == "test-plugin" and "cauchy" in words[1] else 0), outcome.out + outcome.err

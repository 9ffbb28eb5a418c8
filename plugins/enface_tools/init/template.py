"""The recipe for a folder: its data keys from a survey, its training from the template of a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from enface_plugins.planes import recipe_size
from enface_tools.init.names import portable, recipe_name
from enface_tools.init.survey import FEW_PEOPLE, Survey, describe_sizes, people, values
from enface_tools.init.tasks import Task
from enface_tools.report.html import text_environment

RESTORATIONS = ("lq", "lr", "low", "blur", "noisy", "degraded")
FRONTAL = ("frontal", "front")
SIDE, UNIT = 64, 16
"""Shorter side of a first training, and the number that both sides are multiples of, in pixels."""
SMALLEST = 32
RGB = (1, 3)
"""Planes of targets that losses and metrics of colour images take."""
SQUARE = 1.13
"""Aspect ratio below which images are cut to squares."""
TITLES = {
    Task.FRONTALIZE: "Turn faces to the front.",
    Task.TRANSLATE: "Translate sources into targets.",
    Task.RESTORE: "Restore degraded images.",
}


def guess_task(facts: Survey) -> tuple[Task, str]:
    """Return the task that a layout suggests, and why, as text."""
    layout = facts.layout
    if layout.kind in ("labelled", "multipie"):
        return Task.FRONTALIZE, "names give poses"
    if layout.kind == "folders" and layout.target.lower() in FRONTAL:
        return Task.FRONTALIZE, f"the targets are called {layout.target}"
    if layout.kind == "folders" and layout.source.lower() in RESTORATIONS:
        return Task.RESTORE, f"the sources are called {layout.source}"
    return Task.TRANSLATE, "the usual one for pairs"


def recipe_text(facts: Survey, task: Task, recipe: Path) -> str:
    """Return the text of a recipe that will be written to the file ``recipe``."""
    size = first_size(facts)
    pairs, comment = _pairs(facts)
    poses = values(facts.table, "pose")
    channels = facts.channels
    same = channels["source"] == channels["target"]
    template = text_environment("enface_tools.init").get_template(f"{task}.yaml.jinja")
    return template.render(
        title=TITLES[task],
        summary=summary(facts),
        name=_scalar(recipe_name(recipe.stem)),
        data={key: _scalar(value) for key, value in _data(facts, recipe).items()},
        identity_hint=facts.layout.kind in ("folders", "side_by_side") and not facts.layout.identity,
        side_by_side=facts.layout.kind == "side_by_side",
        size=recipe_size(size),
        size_comment=_size_comment(facts),
        load_size="" if task == Task.FRONTALIZE else recipe_size((size[0] + size[0] // 8, size[1] + size[1] // 8)),
        channels="" if channels == {"source": 3, "target": 3} else _scalar(channels),
        depth=facts.depth,
        rgb=channels["target"] in RGB,
        planes=channels["target"],
        split=_split(facts),
        folders=", ".join(facts.layout.splits),
        pairs=_scalar(pairs) if pairs else "",
        pairs_comment=comment,
        validates=facts.people > 2,
        mirror=_scalar({"pose": "negate"}) if _signed(poses) else "" if facts.layout.kind == "labelled" else "{}",
        residual="true" if same else "false",
        residual_comment=", which learns what to add to the source" if same else "",
    )


def summary(facts: Survey) -> str:
    """Return a sentence about the data."""
    layout = facts.layout
    things = "images" if layout.kind in ("labelled", "multipie") else "pairs"
    sizes = "; ".join(
        f"{role}s {describe_sizes(sizes)}" if len(facts.sizes) > 1 else describe_sizes(sizes)
        for role, sizes in facts.sizes.items()
    )
    return f"{layout.pairs} {things} of {people(facts.people)}, {sizes} px."


def first_size(facts: Survey) -> tuple[int, int]:
    """Return the height and width of a first training: about 64 px, with the shape of the targets."""
    counts = facts.sizes.get("target") or facts.sizes["source"]
    width, height = counts.most_common(1)[0][0] if counts else (SIDE, SIDE)
    smallest = min((min(size) for sizes in facts.sizes.values() for size in sizes), default=SIDE)
    side = max(SMALLEST, min(SIDE, smallest // UNIT * UNIT))
    ratio = max(width, height) / min(width, height)
    longer = side if ratio < SQUARE else max(side + UNIT, round(side * ratio / UNIT) * UNIT)
    return (side, longer) if width >= height else (longer, side)


def _data(facts: Survey, recipe: Path) -> dict[str, Any]:
    return {**facts.layout.data, "root": portable(facts.layout.root, recipe)}


def _size_comment(facts: Survey) -> str:
    sizes = facts.sizes.get("target") or facts.sizes["source"]
    largest = min((min(size) for size in sizes), default=SIDE)
    raised = "; 128 or 256 shows more and takes 4 or 16 times as long" if largest >= 2 * SIDE else ""
    images = f"Images are {describe_sizes(sizes)} px (width x height){raised}."
    return f"{images} One side or [height, width], multiples of {UNIT}."


def _split(facts: Survey) -> str:
    """Return the split: none if folders name all three, a part of ``train`` as ``val`` if they name no ``val``."""
    splits = facts.layout.splits
    if {"val", "test"} <= set(splits):
        return ""
    table = facts.table
    number = int(table[table["split"] == "train"]["identity"].nunique()) if splits else facts.people
    held_out = max(1, round(0.1 * number), min(FEW_PEOPLE, number // 5)) if number > 2 else 0
    if splits:
        return _scalar({"val": held_out}) if held_out else ""
    if number < 3:
        return _scalar({"by": "identity", "train": max(1, number - 1), "val": 0, "test": 1})
    return _scalar({"by": "identity", "train": number - 2 * held_out, "val": held_out, "test": held_out})


def _pairs(facts: Survey) -> tuple[dict[str, Any], str]:
    """Return the rule for targets of labelled images, and a comment; empty if the dataset's own is right."""
    if facts.layout.kind != "labelled":
        return {}, ""
    table = facts.table
    everyone = set.intersection(*(set(poses) for _, poses in table.groupby("identity")["pose"]))
    middle = values(table, "pose")
    target = (
        0 if 0 in everyone or not everyone else min(everyone, key=lambda pose: abs(pose - (middle[0] + middle[-1]) / 2))
    )
    same = ["identity", *(column for column in ("light",) if _all_have(table, column, target))]
    where = {"pose": target, **{column: 0 for column in ("pitch",) if 0 in values(table, column)}}
    comment = f"The target of an image: the same {' and '.join(same)} at pose {target}."
    if target:
        comment += " Nobody is at pose 0, so this is a guess: the pose in the middle that everyone has."
    return {"same": same, "where": where}, comment


def _all_have(table: Any, column: str, pose: Any) -> bool:
    """Return True if every image has a target with its value of a column."""
    if column not in table:
        return False
    frontal = set(map(tuple, table[table["pose"] == pose][["identity", column]].to_numpy().tolist()))
    return frontal == set(map(tuple, table[["identity", column]].to_numpy().tolist()))


def _signed(poses: list[Any]) -> bool:
    """Return True if every pose has its mirror image among the poses."""
    numbers = [pose for pose in poses if isinstance(pose, int | float)]
    return bool(numbers) and len(numbers) == len(poses) and {-pose for pose in numbers} == set(numbers)


def _scalar(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**9, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")

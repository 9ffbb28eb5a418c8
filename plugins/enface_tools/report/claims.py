"""Claims that are registered before training, so that a result can confirm them."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import BaseModel, ValidationError

from enface.recipe.models import ClaimModel, Recipe

if TYPE_CHECKING:
    from enface.training.run import Run

CLAIM = "claim.json"
MEASURING = {"images", "self_pairs", "regions"}
"""Keys of ``evaluation`` that determine what is measured."""


class RegisteredClaim(BaseModel):
    """``claim.json`` of a run.

    Attributes:
        digest: See :func:`claim_digest`.
        registered: Time, before the first step.
    """

    claim: ClaimModel
    digest: str
    registered: datetime

    @property
    def text(self) -> str:
        """The claim as a sentence."""
        by = f" by more than {self.claim.by:g}" if self.claim.by else ""
        return f"better on {self.claim.better} than {self.claim.than}{by}, with {self.claim.seeds} seeds or more"

    @property
    def date(self) -> str:
        """The time of registration, ISO 8601."""
        return self.registered.isoformat(timespec="seconds")


def register_claim(run: Run) -> None:
    """Write ``claim.json`` into the directory of a run that has not begun, if its recipe makes a claim."""
    claim = run.recipe.claim
    if claim is None:
        return
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    content = {"claim": claim.model_dump(), "digest": claim_digest(run.recipe), "registered": now}
    (run.directory / CLAIM).write_text(json.dumps(content, indent=1), encoding="utf-8")


def claim_digest(recipe: Recipe) -> str:
    """Return the digest of the claim, its metric, the evaluated images, and the training but for its seed."""
    claim = recipe.claim
    assert claim is not None
    parts = {
        "claim": claim.model_dump(),
        "metric": recipe.metrics[claim.better.partition("@")[0]].model_dump(mode="json"),
        "evaluation": recipe.evaluation.model_dump(mode="json", include=MEASURING),
        "training": recipe.model_copy(update={"seed": 0}).training_digest(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def read_claim(directory: Path) -> RegisteredClaim | None:
    """Return the claim that a run registered before its first step.

    None without one, and if the claim, its metric or the training in ``recipe.yaml`` is another than was registered.
    """
    try:
        registered = RegisteredClaim.model_validate_json((directory / CLAIM).read_bytes())
        recipe = Recipe.model_validate(yaml.safe_load((directory / "recipe.yaml").read_text(encoding="utf-8")))
        first = _first_step(directory / "log.jsonl")
    except (OSError, ValueError, ValidationError, yaml.YAMLError):
        return None
    if recipe.claim != registered.claim or claim_digest(recipe) != registered.digest:
        return None
    return registered if first is None or registered.registered.timestamp() <= first else None


def _first_step(log: Path) -> float | None:
    """Return the time of the first step in a log; None before it."""
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("event") == "step":
            return float(entry["time"])
    return None

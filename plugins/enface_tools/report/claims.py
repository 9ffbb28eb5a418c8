"""Claims that are registered before training, so that a result can confirm them."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from enface.recipe.models import ClaimModel, Recipe
from enface.training.run import Run

CLAIM = "claim.json"


class RegisteredClaim(BaseModel):
    """``claim.json`` of a run.

    Attributes:
        digest: Of the claim and of everything that training depends on except the seed.
        registered: Time, before the first step.
    """

    claim: ClaimModel
    digest: str
    registered: str

    @property
    def text(self) -> str:
        """The claim as a sentence."""
        by = f" by more than {self.claim.by:g}" if self.claim.by else ""
        return f"better on {self.claim.better} than {self.claim.than}{by}, with {self.claim.seeds} seeds or more"


def register_claim(run: Run) -> None:
    """Write ``claim.json`` into the directory of a run that has not begun, if its recipe makes a claim."""
    claim = run.recipe.claim
    if claim is None:
        return
    digest = claim_digest(run.recipe)
    run.log("claim_registered", digest=digest)
    content = {"claim": claim.model_dump(), "digest": digest, "registered": datetime.now(UTC).isoformat("T", "seconds")}
    (run.directory / CLAIM).write_text(json.dumps(content, indent=1), encoding="utf-8")


def claim_digest(recipe: Recipe) -> str:
    """The digest that a claim is registered under: of the claim, and of the training but for its seed."""
    assert recipe.claim is not None
    parts: dict[str, Any] = {"claim": recipe.claim.model_dump(), "training": recipe.model_copy(update={"seed": 0})}
    parts["training"] = parts["training"].training_digest()
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def read_claim(directory: Path) -> RegisteredClaim | None:
    """The claim that was registered before a run began; None without one, or if the run's log has another digest."""
    try:
        claim = RegisteredClaim.model_validate_json((directory / CLAIM).read_bytes())
        log = (directory / "log.jsonl").read_text(encoding="utf-8")
    except (OSError, ValueError, ValidationError):
        return None
    first_step = log.find('"event": "step"')
    registered = log.find(f'"digest": "{claim.digest}"')
    return claim if registered >= 0 and (first_step < 0 or registered < first_step) else None

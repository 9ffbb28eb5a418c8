"""Rules for the critic's side of a game."""

from __future__ import annotations

from enface.plugin.components import CriticLoss
from enface_tools.conformance.fixture import Subject
from enface_tools.conformance.loss_sides import claimed, learnt
from enface_tools.conformance.rules import BrokenRule, NotAsked, rule
from enface_tools.conformance.samples import is_image


@rule("critic only")
def _critic_only(subject: Subject) -> None:
    """The critic's side teaches the critic: its gradient reaches no image that the critic is shown."""
    if not isinstance(claimed(subject), CriticLoss):
        raise NotAsked("it has no critic's side")
    *_, (_, _, reached) = learnt(subject)
    images = [name for name, items in reached.items() if is_image(name) and any(bool(item.any()) for item in items)]
    if images:
        raise BrokenRule(f"critic's gradient reaches {images[0]}; detach the images before they are judged")


GAME_RULES = (_critic_only,)

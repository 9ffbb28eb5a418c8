"""Adversarial losses and critic regularisers."""

from __future__ import annotations

from functools import partial
from typing import Any

from golden_inputs import array
from reference.case import Case, image, logits

from reference import critics


def both_sides(name: str, source: str, *, real: bool = False) -> list[Case]:
    """Cases of the generator's and the critic's side of an adversarial loss."""
    given = {"real_logits": logits(1), "fake_logits": logits(2)}
    forward = given if real else {"fake_logits": given["fake_logits"]}
    of = {"component": name, "source": source}
    return [
        Case("critics", name, function=getattr(critics, name), inputs=forward, wrt=("fake_logits",), **of),
        Case(
            "critics",
            f"{name}, critic",
            function=getattr(critics, f"{name}_critic"),
            inputs=given,
            side="critic",
            wrt=("real_logits", "fake_logits"),
            **of,
        ),
    ]


DRAWS = ["unit", [2, 1, 1, 1], 1]
EARLIER = [{"real_logits": logits(phase), "fake_logits": logits(phase + 0.5)} for phase in (4, 9)]
JUDGE = ["weights", [4, 48], 1]
SCALES = [JUDGE, ["weights", [3, 12], 2]]
REAL, FAKE = image(1, 2, 3, 8, 8), image(2, 2, 3, 8, 8)


def regulariser(name: str, inputs: dict[str, Any], source: str, component: str = "", **more: Any) -> Case:
    """A case of a regulariser; the gradient is with respect to the critic's weights."""
    component = component or name
    function = more.pop("function", getattr(critics, component))
    return Case("critics", name, component, function, inputs, source, side="critic", wrt=("judge",), size=8, **more)


CRITICS = [
    *both_sides("vanilla", "Goodfellow et al., NeurIPS 2014, section 3, non-saturating"),
    Case(
        "critics",
        "vanilla, critic, smoothing 0.1",
        "vanilla",
        partial(critics.vanilla_critic, smoothing=0.1),
        {"real_logits": logits(1), "fake_logits": logits(2)},
        "Goodfellow et al., NeurIPS 2014; one-sided label smoothing: Salimans et al., NeurIPS 2016, section 3.4",
        side="critic",
        wrt=("real_logits", "fake_logits"),
        params={"smoothing": 0.1},
    ),
    *both_sides("lsgan", "Mao et al., ICCV 2017, equation 9"),
    *both_sides("hinge", "Miyato et al., ICLR 2018, equations 16 and 17"),
    *both_sides("wgan", "Arjovsky et al., ICML 2017"),
    *both_sides("relativistic_average", "Jolicoeur-Martineau, ICLR 2019 (RaSGAN)", real=True),
    *both_sides(
        "relativistic_paired",
        "Jolicoeur-Martineau, ICLR 2019 (RpGAN); Huang et al., NeurIPS 2024 (R3GAN)",
        real=True,
    ),
    Case(
        "critics",
        "lecam, third update",
        "lecam",
        partial(
            critics.lecam,
            before=[{name: array(spec) for name, spec in batch.items()} for batch in EARLIER],
            decay=0.8,
        ),
        {"real_logits": logits(1), "fake_logits": logits(2)},
        "Tseng et al., CVPR 2021, as lecamreg of github.com/google/lecam-gan, stylegan2/lecam_loss.py",
        side="critic",
        wrt=("real_logits", "fake_logits"),
        params={"decay": 0.8},
        held={"held_real": "real_logits", "held_fake": "fake_logits"},
        extra={"before": EARLIER},
    ),
    regulariser("r1", {"real_image": REAL, "judge": JUDGE}, "Mescheder et al., ICML 2018, equation 9, without gamma"),
    regulariser(
        "r1, two scales",
        {"real_image": REAL, "judge": SCALES},
        "Mescheder et al., ICML 2018, equation 9, without gamma, with the critic the mean of its scales",
        component="r1",
    ),
    regulariser("r2", {"fake_image": FAKE, "judge": JUDGE}, "Mescheder et al., ICML 2018, equation 10, without gamma"),
    *[
        regulariser(
            f"gradient_penalty, centre {center:g}",
            {"real_image": REAL, "fake_image": FAKE, "judge": JUDGE},
            source,
            component="gradient_penalty",
            function=partial(critics.gradient_penalty, draws=array(DRAWS), center=center),
            params={"center": center},
            extra={"draws": DRAWS},
        )
        for center, source in (
            (1.0, "Gulrajani et al., NeurIPS 2017 (WGAN-GP), equation 3 without lambda, at fixed draws"),
            (0.0, "Thanh-Tung et al., ICLR 2019, the zero-centred penalty without lambda, at fixed draws"),
        )
    ],
]

"""From contents to one page: the template, and a policy by which nothing but the page's own scripts can run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from enface_tools.report import html
from enface_tools.report.files import embedded
from enface_tools.report.pictures import tile_name

STYLES = ("base.css", "tables.css", "gallery.css")
SCRIPTS = ("theme.js", "page.js", "choose.js", "plots.js", "samples.js", "gallery.js", "large.js")


def rendered(template: str, contents: Mapping[str, Any], data: Mapping[str, Any], *, refresh: int | None = None) -> str:
    """A page's HTML.

    Args:
        template: Its file in ``templates`` of the report or of the comparison.
        contents: What the template names.
        data: What the scripts read, by the id of its element.
        refresh: Seconds after which the page loads itself again; None for a page that stays as it is.
    """
    scripts = [read(name) for name in SCRIPTS]
    return (
        _environment()
        .get_template(template)
        .render(
            **contents,
            data={name: embedded(item) for name, item in data.items()},
            styles=Markup("\n".join(map(read, STYLES))),
            scripts=[Markup(text) for text in scripts],
            policy=_policy(scripts),
            refresh=refresh,
        )
    )


def read(name: str) -> str:
    """A file of the page, from the package."""
    return (resources.files("enface_tools.report") / "templates" / name).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str]) -> str:
    """No network; of scripts only ours, by their digests, and those that lie beside the page (the plots)."""
    ours = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts)
    here = "'self' file:"
    return (
        f"default-src 'none'; img-src {here} data: blob:; style-src 'unsafe-inline'; script-src {here} {ours}; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> jinja2.Environment:
    environment = html.environment("enface_tools.compare")
    environment.filters["tile_name"] = tile_name
    environment.filters["minus"] = lambda text: str(text).replace("-", "\N{MINUS SIGN}")
    return environment

"""Rendering a page, with a content security policy that allows only its own scripts."""

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
from enface_tools.report.provenance import value_text

STYLES = ("base.css", "tables.css", "gallery.css")
SCRIPTS = ("theme.js", "page.js", "choose.js", "plots.js", "samples.js", "gallery.js", "large.js")


def rendered(
    template: str,
    contents: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    package: str = "enface_tools.report",
    refresh: int | None = None,
) -> str:
    """The HTML of a page.

    Args:
        template: A file in ``templates`` of ``package`` or of the report.
        contents: Variables of the template.
        data: Data for the scripts, by the id of its element.
        refresh: Seconds after which the page reloads; None for a page that does not.
    """
    scripts = [read(name) for name in SCRIPTS]
    return (
        _environment(package)
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
    """A file in the report's ``templates``."""
    return (resources.files("enface_tools.report") / "templates" / name).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str]) -> str:
    """No network access; scripts only from the page, by digest, and the plotting library, a file next to it.

    ``blob:`` is the library unpacked, which only the page's own scripts can make.
    """
    inline = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts
    )
    files = "'self' file:"
    return (
        f"default-src 'none'; img-src {files} data: blob:; style-src 'unsafe-inline'; "
        f"script-src {files} blob: {inline}; base-uri 'none'; form-action 'none'"
    )


@cache
def _environment(package: str) -> jinja2.Environment:
    environment = html.environment(package)
    environment.filters["tile_name"] = tile_name
    environment.filters["value_text"] = value_text
    environment.filters["minus"] = lambda text: str(text).replace("-", "\N{MINUS SIGN}")
    return environment

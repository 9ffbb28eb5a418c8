"""How pages are made of templates: what comes from data is text, never markup."""

from __future__ import annotations

import jinja2


def environment(*packages: str) -> jinja2.Environment:
    """Templates of these packages, then of the report, escaping their values; an undefined name is an error."""
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in (*packages, "enface_tools.report")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

"""Jinja environments of the pages and texts that tools write."""

from __future__ import annotations

import jinja2


def environment(*packages: str) -> jinja2.Environment:
    """Templates of some packages, then of the report. Values are escaped; an undefined name is an error."""
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in (*packages, "enface_tools.report")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def text_environment(package: str) -> jinja2.Environment:
    """Templates of a package for YAML, Python and the like, without escapes; an undefined name is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

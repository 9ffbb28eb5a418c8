"""How pages are made of templates: what comes from data is text, never markup."""

from __future__ import annotations

import jinja2


def environment() -> jinja2.Environment:
    """The templates of this package, escaping all they are given; a name that is not given is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("enface"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

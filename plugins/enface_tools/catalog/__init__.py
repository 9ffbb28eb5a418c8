"""The catalog described: each component as plain data, and the whole as a JSON Schema of recipes.

``about`` gives what is known of one component; ``words`` reads its docstring and says a type in plain words;
``recipes`` puts the parameters of all of them into one schema for editors.
"""

from __future__ import annotations

from enface_tools.catalog.describe import PLURALS, About, Origin, Parameter, described
from enface_tools.catalog.json_schema import recipe_schema

__all__ = ["PLURALS", "About", "Origin", "Parameter", "described", "recipe_schema"]

"""Describe the catalog: each component as plain data, and all of them as one JSON Schema of recipes.

``describe`` collects the properties of a component, ``text`` reads docstrings and formats types, and ``json_schema``
combines the parameters of all components into a schema for editors.
"""

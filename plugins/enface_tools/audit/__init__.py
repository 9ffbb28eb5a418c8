"""Audit of a recipe's image pairs, before anything is trained on them.

The Python entry point is :func:`enface_tools.audit.audit.audit`.
"""

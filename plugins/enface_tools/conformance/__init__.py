"""Conformance tests for components. The Python entry point is :mod:`enface_tools.conformance.suite`."""

"""Codes of a frozen encoder, cached on disk: the stage key ``cache_codes``."""

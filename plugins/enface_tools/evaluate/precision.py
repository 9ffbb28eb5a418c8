"""Precision of printed numbers: the decimals that the width of their interval supports."""

from __future__ import annotations

import math

MAX_DECIMALS, SIGNIFICANT = 8, 3


def places(mean: float | None, low: float | None = None, high: float | None = None) -> int:
    """Return the decimals of a mean and its interval's ends: one or two digits of half the interval's width.

    More if an end would be shown as 0 although the interval excludes 0. Without an interval, the decimals of three
    significant digits of the mean. Undefined numbers are None or NaN.
    """
    if low is None or high is None or not low < high or math.isinf(high - low):
        return _significant(mean)
    # Two digits of a half up to 0.3, 3, 30, ...: one would round it by up to a half.
    decimals = _limited(math.ceil(round(-math.log10((high - low) / 6), 9)))
    ends = [low, high] if mean is None or math.isnan(mean) else [mean, low, high]
    while decimals < MAX_DECIMALS and (low > 0 or high < 0) and not all(float(f"{end:.{decimals}f}") for end in ends):
        decimals += 1
    return decimals


def plain(value: float | None, decimals: int) -> str:
    """Return a number as text, never ``-0.00``; a dash if it is undefined."""
    return "-" if value is None or math.isnan(value) else f"{value:z.{decimals}f}"


def signed(value: float | None, decimals: int) -> str:
    """Return a number as text with its sign; one that is rounded to 0 has none."""
    text = plain(value, decimals)
    return f"+{text}" if value is not None and value > 0 and float(text) else text


def _significant(mean: float | None) -> int:
    if mean is None or not mean or not math.isfinite(mean):
        return SIGNIFICANT
    return _limited(SIGNIFICANT - 1 - math.floor(math.log10(abs(mean))))


def _limited(decimals: int) -> int:
    return min(max(decimals, 0), MAX_DECIMALS)

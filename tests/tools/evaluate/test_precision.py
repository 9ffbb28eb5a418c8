"""Precision of printed numbers: as many digits as their interval supports."""

from __future__ import annotations

import math

import pytest

from enface_tools.evaluate.precision import places, plain, signed


@pytest.mark.parametrize(
    ("mean", "low", "high", "text"),
    [
        # Half of the width is 0.015, 1.4, 0.0097, 30 and 0.05: two digits up to 3, one digit above.
        (0.81234, 0.80, 0.83, "0.812 [0.800, 0.830]"),
        (24.4229, 22.5993, 25.4256, "24.4 [22.6, 25.4]"),
        (0.032483, 0.025611, 0.044981, "0.032 [0.026, 0.045]"),
        (5432.1, 5400.0, 5460.0, "5432 [5400, 5460]"),
        (0.72902, 0.67, 0.77, "0.73 [0.67, 0.77]"),
        # An interval that excludes 0 does not end at 0.
        (0.0034, 0.0001, 0.0101, "0.0034 [0.0001, 0.0101]"),
        (-0.0034, -0.0101, -0.0001, "-0.0034 [-0.0101, -0.0001]"),
        # A number that is rounded to 0 has no sign.
        (-0.00001, -0.002, 0.001, "0.0000 [-0.0020, 0.0010]"),
    ],
)
def test_digits_are_those_of_half_the_interval(mean, low, high, text):
    decimals = places(mean, low, high)
    assert f"{plain(mean, decimals)} [{plain(low, decimals)}, {plain(high, decimals)}]" == text


@pytest.mark.parametrize("interval", [(None, None), (math.nan, math.nan), (1.0, 1.0), (-math.inf, math.inf)])
@pytest.mark.parametrize(
    ("mean", "text"), [(41.512, "41.5"), (0.012345, "0.0123"), (12345.6, "12346"), (0.0, "0.000"), (math.nan, "-")]
)
def test_without_an_interval_a_number_has_three_digits(mean, text, interval):
    assert plain(mean, places(mean, *interval)) == text


def test_undefined_numbers_are_a_dash():
    assert (plain(None, 2), signed(None, 2), signed(math.nan, 2)) == ("-", "-", "-")
    assert plain(math.inf, places(math.inf)) == "inf"


@pytest.mark.parametrize(
    ("value", "text"), [(0.126, "+0.13"), (-0.126, "-0.13"), (0.001, "0.00"), (-0.001, "0.00"), (0.0, "0.00")]
)
def test_a_difference_has_its_sign_unless_it_is_rounded_to_0(value, text):
    assert signed(value, 2) == text

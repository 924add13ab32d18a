"""How far an accuracy can be believed: the interval is Wilson's, by his equation and by SciPy."""

import math

import pytest
from scipy.stats import binomtest

from companion.training.scores import accuracy_interval


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (8, 8), (9, 12), (0, 40), (2285, 2500)])
def test_the_interval_is_scipys(right, n):
    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert accuracy_interval(right, n) == pytest.approx((expected.low, expected.high), abs=1e-7)


def test_its_ends_are_as_far_from_the_share_as_chance_may_be_there():
    for p in accuracy_interval(9, 12):
        assert abs(0.75 - p) == pytest.approx(1.96 * math.sqrt(p * (1 - p) / 12), rel=1e-4)


def test_where_all_are_right_there_is_still_room_for_doubt():
    low, high = accuracy_interval(8, 8)
    assert (round(low, 3), high) == (0.676, 1.0)
    assert accuracy_interval(0, 8) == pytest.approx((0.0, 1 - low))


@pytest.mark.parametrize(("right", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_what_cannot_be(right, n):
    with pytest.raises(ValueError, match=f"{right} of {n} texts cannot be right"):
        accuracy_interval(right, n)

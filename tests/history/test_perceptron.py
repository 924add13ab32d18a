"""Threshold units, the perceptron, its bound, and XOR."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.history.digits import accuracy, load_digits
from companion.history.perceptron import (
    mp_and,
    mp_not,
    mp_or,
    mp_xor,
    novikoff_bound,
    perceptron_output,
    separable_points,
    threshold_unit,
    train_perceptron,
    train_perceptrons,
    with_bias,
)

CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR = np.array([-1, 1, 1, -1])


def test_the_gates_are_those_of_python():
    for a, b in itertools.product((0, 1), repeat=2):
        assert (mp_and(a, b), mp_or(a, b), mp_xor(a, b)) == (a & b, a | b, a ^ b)
        assert mp_not(a) == 1 - a


def test_one_inhibitory_input_silences_a_unit():
    assert threshold_unit([1] * 9, [0, 0], threshold=3) == 1
    assert threshold_unit([1] * 9, [0, 1], threshold=3) == 0


@pytest.mark.parametrize("bits", list(itertools.product((-1, 1), repeat=4)))
def test_a_perceptron_learns_every_gate_but_xor_and_its_opposite(bits):
    y = np.array(bits)
    run = train_perceptron(CORNERS, y)
    learnable = bits not in (tuple(XOR), tuple(-XOR))
    assert run.converged == learnable
    assert (run.cycle is None) == learnable
    assert (perceptron_output(run.weights, CORNERS) == y).all() == learnable


def test_a_cycle_goes_round_for_ever():
    short, long = train_perceptron(CORNERS, XOR, max_epochs=1), train_perceptron(CORNERS, XOR)
    first, later = long.cycle
    assert np.array_equal(short.weights, long.path[0]) and (first, later) == (0, 1)
    assert len(long.mistakes) == later


def test_the_path_follows_the_rule():
    x, y, _ = separable_points(40, margin=0.05, generator=np.random.default_rng(4))
    run = train_perceptron(x, y)
    corrections = np.diff(run.path, axis=0)
    assert run.corrections == sum(run.mistakes) == len(corrections) > 0
    signed = y[:, None] * with_bias(x)
    for before, step in zip(run.path, corrections, strict=False):
        shown = np.isclose(signed, step, atol=1e-12).all(axis=1)
        assert shown.any()  # a step is one example, towards its side
        assert (signed[shown] @ before <= 0).all()  # which was wrong


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([0.02, 0.1, 0.3]))
def test_no_perceptron_makes_more_mistakes_than_novikoff_allows(seed, margin):
    x, y, direction = separable_points(60, margin=margin, generator=np.random.default_rng(seed))
    bound = novikoff_bound(x, y, direction)
    run = train_perceptron(x, y, max_epochs=10_000)
    assert run.converged and 1 <= run.corrections <= bound
    assert bound <= 3 / margin**2 + 1e-9  # no point is longer than √3, its bias input included


def test_the_bound_holds_on_real_digits_and_for_and():
    digits = load_digits()
    zero_or_one = np.isin(digits.train_y, (0, 1))
    x, y = digits.train_x[zero_or_one], np.where(digits.train_y[zero_or_one] == 1, 1, -1)
    run = train_perceptron(x, y)
    assert run.mistakes == (6, 2, 0)
    assert run.corrections <= novikoff_bound(x, y, run.weights)
    labels = np.array([-1, -1, -1, 1])
    run = train_perceptron(CORNERS, labels)
    assert run.corrections == 18 and novikoff_bound(CORNERS, labels, np.array([2.0, 2.0, -3.0])) == pytest.approx(51)


def test_xor_has_no_direction_for_the_bound():
    for direction in itertools.product((-2.0, -1.0, 0.5, 3.0), repeat=3):
        with pytest.raises(ValueError, match="wrong side"):
            novikoff_bound(CORNERS, XOR, np.array(direction))


def test_labels_are_plus_or_minus_one():
    with pytest.raises(ValueError, match=r"each \+1 or -1"):
        train_perceptron(CORNERS, np.array([0, 1, 1, 0]))


@pytest.mark.parametrize("seed", range(5))
def test_ten_perceptrons_read_most_digits(seed):
    digits = load_digits(seed=seed)
    weights = train_perceptrons(digits.train_x, digits.train_y, generator=np.random.default_rng(seed))
    assert accuracy(with_bias(digits.test_x) @ weights, digits.test_y) >= 0.87

"""Hopfield's memory: the energy never rises, stored patterns come back, and there is a limit to how many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.history.hopfield import energy, flip, overlap, random_patterns, recall, retrieval, store


def test_hebb_adds_what_the_patterns_have_in_common():
    patterns = random_patterns(3, 7, generator=np.random.default_rng(0))
    weights = store(patterns)
    for i in range(7):
        for j in range(7):
            assert weights[i, j] == (sum(p[i] * p[j] for p in patterns) if i != j else 0)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 30))
def test_the_energy_never_rises_and_every_recall_ends_in_a_state_that_stays(seed, n, stored):
    generator = np.random.default_rng(seed)
    weights = store(random_patterns(stored, n, generator=generator))
    start = random_patterns(5, n, generator=generator)
    run = recall(weights, start, generator=generator, max_sweeps=500)
    assert run.energies.shape[1] == 5 and (len(run.energies) - 1) % n == 0
    assert (np.diff(run.energies, axis=0) <= 0).all()
    assert np.array_equal(run.energies[-1], energy(weights, run.states))  # exact: whole numbers
    assert run.settled.all()
    assert (run.states * (run.states @ weights) >= 0).all()  # no unit wants to change


def test_the_start_is_left_as_it_was():
    start = -np.ones((1, 4))
    recall(store(np.array([[1.0, 1.0, -1.0, 1.0]])), start, generator=np.random.default_rng(0))
    assert (start == -1).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_damaged_pattern_is_repaired(seed):
    generator = np.random.default_rng(seed)
    patterns = random_patterns(10, 200, generator=generator)
    damaged = flip(patterns, 0.2, generator=generator)
    assert np.allclose(overlap(damaged, patterns), 0.6)
    run = recall(store(patterns), damaged, generator=generator)
    assert (overlap(run.states, patterns) >= 0.95).all()


def test_a_pattern_and_its_negative_are_equally_deep():
    pattern = random_patterns(1, 30, generator=np.random.default_rng(0))
    weights = store(pattern)
    assert energy(weights, pattern) == energy(weights, -pattern) == -0.5 * 30 * 29


def test_the_memory_fails_beyond_its_capacity():
    """Amit, Gutfreund and Sompolinsky: 0.138 n. Below it nearly all comes back, well above it nearly nothing stays."""
    below, above = (
        np.mean([retrieval(300, load, generator=np.random.default_rng(seed)) for seed in range(3)])
        for load in (0.10, 0.20)
    )
    assert below >= 0.99
    assert above <= 0.80


def test_what_could_make_the_energy_rise_is_refused():
    states = np.ones((1, 3))
    with pytest.raises(ValueError, match="symmetric"):
        recall(np.triu(np.ones((3, 3)), 1), states, generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match="zeros on the diagonal"):
        recall(np.ones((3, 3)), states, generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"\+1 and -1"):
        store(np.array([[0.0, 1.0]]))

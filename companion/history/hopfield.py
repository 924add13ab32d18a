r"""Hopfield's associative memory: patterns are stored as valleys of an energy, and recall rolls downhill.

Hopfield (1982) writes the states as 0 and 1; here they are -1 and +1, the notation that became the usual one. With it
the weights and energies are whole numbers, so they are exact.

Letters in the shapes: n units, P patterns or states.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from companion.errors import require

Array = npt.NDArray[np.float64]


def store(patterns: Array) -> Array:
    r"""Hebb's rule: ``T_ij = Σ_s V_i^s V_j^s`` for i ≠ j, and ``T_ii = 0`` (Hopfield 1982, equation 2): (n, n).

    Units that are active together in a pattern are joined by a positive weight, in one step and without any iteration.

    Raises:
        ValueError: ``patterns`` (P, n) holds anything but +1 and -1.

    >>> store(np.array([[1.0, 1.0, -1.0]])).tolist()
    [[0.0, 1.0, -1.0], [1.0, 0.0, -1.0], [-1.0, -1.0, 0.0]]
    """
    _check_states(patterns)
    weights = patterns.T @ patterns
    np.fill_diagonal(weights, 0.0)
    return weights


def energy(weights: Array, states: Array) -> Array:
    r"""``E = -½ Σ_ij T_ij V_i V_j`` (Hopfield 1982, equation 7): (...,) for states (..., n).

    >>> pattern = np.array([1.0, 1.0, -1.0])
    >>> float(energy(store(pattern[None]), pattern)), float(energy(store(pattern[None]), np.ones(3)))
    (-3.0, 1.0)
    """
    energies: Array = -0.5 * np.einsum("...i,ij,...j->...", states, weights, states, optimize=True)
    return energies


@dataclass(frozen=True)
class Recall:
    """Where states came to rest.

    Attributes:
        states: the last states, (P, n).
        energies: of each state at the start and after each unit's turn, (turns + 1, P).
        settled: which states no longer change, (P,).
    """

    states: Array
    energies: Array
    settled: npt.NDArray[np.bool_]


def recall(weights: Array, states: Array, *, generator: np.random.Generator, max_sweeps: int = 50) -> Recall:
    r"""Let the units take turns in random order until nothing changes (Hopfield 1982, equation 1).

    Unit i becomes +1 if ``Σ_j T_ij V_j > 0``, -1 if it is negative, and stays as it is at 0. That changes the energy by
    ``-ΔV_i Σ_j T_ij V_j <= 0`` (equation 8), so there is always an end.

    Args:
        weights: (n, n), symmetric, zero on the diagonal.
        states: where to start, (P, n) of +1 and -1; they do not see each other, but the units take their turns in the
            same order in all of them.
        generator: gives the order, anew in each sweep over the units.
        max_sweeps: how often each unit gets its turn at most.

    Raises:
        ValueError: the weights are not symmetric or join a unit to itself, or a state is neither +1 nor -1.

    >>> pattern = np.array([[1.0, 1.0, -1.0, -1.0, 1.0]])
    >>> damaged = np.array([[-1.0, 1.0, -1.0, -1.0, 1.0]])
    >>> run = recall(store(pattern), damaged, generator=np.random.default_rng(0))
    >>> run.states.tolist() == pattern.tolist(), run.energies[0].tolist(), run.energies[-1].tolist()
    (True, [-2.0], [-10.0])
    """
    _check_states(states)
    require(
        bool((weights == weights.T).all()) and not weights.diagonal().any(),
        "the weights must be symmetric with zeros on the diagonal, or the energy could rise; make them with store()",
    )
    states = states.copy()
    energies = [energy(weights, states)]
    for _ in range(max_sweeps):
        before = states.copy()
        for i in generator.permutation(len(weights)):
            field = states @ weights[i]  # (P,)
            change = np.where(field == 0, states[:, i], np.sign(field)) - states[:, i]
            states[:, i] += change
            energies.append(energies[-1] - change * field)
        settled = (states == before).all(axis=1)
        if settled.all():
            break
    return Recall(states, np.array(energies), settled)


def overlap(states: Array, patterns: Array) -> Array:
    """``(1/n) Σ_i V_i ξ_i``: 1 for the same state, 0 for an unrelated one, -1 for its negative; (...,).

    >>> float(overlap(np.array([1.0, 1.0, 1.0, -1.0]), np.ones(4)))
    0.5
    """
    overlaps: Array = (states * patterns).mean(axis=-1)
    return overlaps


def random_patterns(n_patterns: int, n: int, *, generator: np.random.Generator) -> Array:
    """(P, n) of +1 and -1, each with probability ½.

    >>> random_patterns(2, 4, generator=np.random.default_rng(0)).tolist()
    [[1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, -1.0, -1.0]]
    """
    return 2 * generator.integers(0, 2, size=(n_patterns, n)).astype(np.float64) - 1


def flip(states: Array, share: float, *, generator: np.random.Generator) -> Array:
    """``states`` (P, n) with that ``share`` of the units of each, rounded, turned over.

    >>> float(flip(np.ones((1, 4)), 0.5, generator=np.random.default_rng(0)).sum())
    0.0
    """
    count = round(share * states.shape[1])
    flipped = states.copy()
    for row in flipped:
        row[generator.permutation(len(row))[:count]] *= -1
    return flipped


def retrieval(n: int, load: float, *, generator: np.random.Generator, max_sweeps: int = 20) -> float:
    r"""The mean overlap with the stored patterns of where recall ends, when it starts at them.

    ``load · n`` random patterns are stored in ``n`` units. In the limit of many units the overlap stays above 0.96 up
    to the load 0.138 and falls there at once (Amit, Gutfreund & Sompolinsky 1985); with few units it falls slowly.

    >>> round(retrieval(100, 0.05, generator=np.random.default_rng(0)), 2)
    1.0
    """
    patterns = random_patterns(max(1, round(load * n)), n, generator=generator)
    run = recall(store(patterns), patterns, generator=generator, max_sweeps=max_sweeps)
    return float(overlap(run.states, patterns).mean())


def _check_states(states: Array) -> None:
    require(
        states.ndim == 2 and bool((np.abs(states) == 1).all()),
        lambda: f"states must be rows (P, n) of +1 and -1; got the shape {states.shape}; write 2.0 * bits - 1",
    )

r"""Optimizers by hand: gradient descent, momentum, Adam, AdamW, each one rule and each equal to ``torch.optim``.

An optimizer takes parameters and their gradients and gives new parameters; it computes no gradient and changes nothing
that it is given. What it remembers from step to step is its own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from companion.errors import require

Array = npt.NDArray[np.float64]


class Optimizer(Protocol):
    """What all of them can do."""

    def step(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> list[Array]:
        """The parameters after one step."""


@dataclass
class SGD:
    r"""``θ <- θ - η g``.

    With the gradient over all examples this is gradient descent (Cauchy 1847); with that of a mini-batch, see
    :func:`minibatches`, it is stochastic gradient descent (Robbins & Monro 1951). The rule is the same.

    Attributes:
        rate: η.

    >>> SGD(0.1).step([np.array([-4.0, 2.0])], [np.array([-4.0, 20.0])])
    [array([-3.6,  0. ])]
    """

    rate: float

    def step(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> list[Array]:
        """The parameters after one step."""
        _check(parameters, gradients)
        return [p - self.rate * g for p, g in zip(parameters, gradients, strict=True)]


@dataclass
class Momentum:
    r"""``v <- μ v + g``, then ``θ <- θ - η v`` (the heavy ball of Polyak 1964, in PyTorch's form).

    Rumelhart, Hinton & Williams (1986, equation 9) keep ``-η v`` instead of ``v``: the same while η does not change.

    Attributes:
        rate: η.
        momentum: μ.

    >>> rule, p = Momentum(0.1), [np.array(1.0)]
    >>> for _ in range(2):
    ...     p = rule.step(p, [np.array(1.0)])
    >>> round(float(p[0]), 4)  # 1 - 0.1 · 1 - 0.1 · 1.9
    0.71
    """

    rate: float
    momentum: float = 0.9
    _velocity: list[Array] = field(default_factory=list, init=False, repr=False)

    def step(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> list[Array]:
        """The parameters after one step."""
        _check(parameters, gradients)
        before = self._velocity or [np.zeros_like(p) for p in parameters]
        self._velocity = [self.momentum * v + g for v, g in zip(before, gradients, strict=True)]
        return [p - self.rate * v for p, v in zip(parameters, self._velocity, strict=True)]


@dataclass
class Adam:
    r"""Adam (Kingma & Ba 2015, algorithm 1): a rate for each parameter, from running means of ``g`` and ``g²``.

    ``m <- β₁ m + (1 - β₁) g`` and ``s <- β₂ s + (1 - β₂) g²``; both start at zero and are therefore too small at first,
    which ``m̂ = m / (1 - β₁^t)`` and ``ŝ = s / (1 - β₂^t)`` undo; then ``θ <- θ - η m̂ / (√ŝ + ε)``.

    Attributes:
        rate: η; the first step of every parameter has about this size, whatever its gradient.
        betas: β₁ and β₂.
        epsilon: ε.

    >>> [p.round(4).tolist() for p in Adam(0.1).step([np.array([-4.0, 2.0])], [np.array([-4.0, 20.0])])]
    [[-3.9, 1.9]]
    """

    rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    _moments: list[tuple[Array, Array]] = field(default_factory=list, init=False, repr=False)
    _count: int = field(default=0, init=False, repr=False)

    def step(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> list[Array]:
        """The parameters after one step."""
        _check(parameters, gradients)
        (b1, b2), before = self.betas, self._moments or [(np.zeros_like(p), np.zeros_like(p)) for p in parameters]
        self._count += 1
        self._moments = [
            (b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g**2) for (m, s), g in zip(before, gradients, strict=True)
        ]
        return [self._move(p, m, s) for p, (m, s) in zip(parameters, self._moments, strict=True)]

    def _move(self, p: Array, m: Array, s: Array) -> Array:
        m_hat = m / (1 - self.betas[0] ** self._count)
        s_hat = s / (1 - self.betas[1] ** self._count)
        return np.asarray(p - self.rate * m_hat / (np.sqrt(s_hat) + self.epsilon))


@dataclass
class AdamW(Adam):
    r"""Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2).

    First ``θ <- θ - η λ θ``, then Adam's step. Were ``λ θ`` added to the gradient instead, as an L2 penalty does, Adam
    would divide it by ``√ŝ`` too, and parameters with large gradients would decay less.

    Attributes:
        weight_decay: λ.

    >>> [p.round(4).tolist() for p in AdamW(0.1, weight_decay=0.5).step([np.array([4.0])], [np.array([0.0])])]
    [[3.8]]
    """

    weight_decay: float = 0.01

    def step(self, parameters: Sequence[Array], gradients: Sequence[Array]) -> list[Array]:
        """The parameters after one step."""
        return super().step([p - self.rate * self.weight_decay * p for p in parameters], gradients)


def descend(optimizer: Optimizer, gradient: Callable[[Array], Array], start: Array, steps: int) -> Array:
    """The path from ``start`` (D,): (steps + 1, D), the start first.

    >>> descend(SGD(0.1), bowl_gradient(10.0), np.array([-4.0, 2.0]), 2).round(4).tolist()
    [[-4.0, 2.0], [-3.6, 0.0], [-3.24, 0.0]]
    """
    path = [np.asarray(start, dtype=np.float64)]
    for _ in range(steps):
        path += optimizer.step([path[-1]], [gradient(path[-1])])
    return np.array(path)


def bowl(curvature: float) -> Callable[[Array], Array]:
    """The function ``f(x, y) = ½ (x² + κ y²)`` of points (..., 2): steeper along y if the curvature κ exceeds 1.

    Plain descent shrinks y by ``1 - η κ`` in each step, so it diverges for a rate above ``2 / κ``.

    >>> float(bowl(10.0)(np.array([-4.0, 2.0])))
    28.0
    """
    return lambda point: 0.5 * (point[..., 0] ** 2 + curvature * point[..., 1] ** 2)


def bowl_gradient(curvature: float) -> Callable[[Array], Array]:
    """Of :func:`bowl`: ``(x, κ y)``.

    >>> bowl_gradient(10.0)(np.array([-4.0, 2.0])).tolist()
    [-4.0, 20.0]
    """
    return lambda point: point * np.array([1.0, curvature])


def minibatches(n: int, size: int, *, generator: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """The numbers 0 to n - 1 in a random order, ``size`` at a time; the last batch may be smaller.

    >>> [len(rows) for rows in minibatches(10, 4, generator=np.random.default_rng(0))]
    [4, 4, 2]
    """
    require(1 <= size, f"size={size}; a batch has one example at least")
    order = generator.permutation(n)
    for first in range(0, n, size):
        yield order[first : first + size]


def _check(parameters: Sequence[Array], gradients: Sequence[Array]) -> None:
    shapes = [np.shape(p) for p in parameters], [np.shape(g) for g in gradients]
    require(shapes[0] == shapes[1], lambda: f"each parameter needs its gradient; got {shapes[0]} and {shapes[1]}")

r"""The restricted Boltzmann machine: an energy over visible and hidden units, learned by contrastive divergence.

``p(v, h) = exp(-E(v, h)) / Z`` with ``E(v, h) = -a·v - b·h - vᵀWh``, units 0 or 1 (Smolensky 1986; Hinton 2002). No
visible unit is joined to a visible one and no hidden to a hidden one, so given one side the other is independent units.

Letters in the shapes: N examples, V visible units, H hidden units.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from companion.errors import require

Array = npt.NDArray[np.float64]
MAX_UNITS = 16  # a sum over all states of so many units takes 65,536 rows


def sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))``, for any size of ``x``.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return 0.5 * (1 + np.tanh(0.5 * x))


def binary_states(n: int) -> Array:
    """All states of ``n`` units of 0 and 1, (2^n, n).

    Raises:
        ValueError: there would be too many to list.

    >>> binary_states(2).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    require(1 <= n <= MAX_UNITS, f"{n} units have 2^{n} states; this list ends at {MAX_UNITS} units")
    return (np.arange(2**n)[:, None] >> np.arange(n - 1, -1, -1) & 1).astype(np.float64)


@dataclass(frozen=True)
class RBMGradient:
    """A direction for each parameter of an RBM: ``w`` (V, H), ``a`` (V,), ``b`` (H,)."""

    w: Array
    a: Array
    b: Array


class RBM:
    """A restricted Boltzmann machine.

    Attributes:
        w: weights, (V, H).
        a: biases of the visible units, (V,).
        b: biases of the hidden units, (H,).

    >>> rbm = RBM(3, 2, generator=np.random.default_rng(0))
    >>> rbm.hidden(np.ones((5, 3))).shape, rbm.visible(np.ones((5, 2))).shape
    ((5, 2), (5, 3))
    """

    def __init__(self, n_visible: int, n_hidden: int, *, generator: np.random.Generator, std: float = 0.01) -> None:
        self.w = generator.normal(0.0, std, size=(n_visible, n_hidden))
        self.a = np.zeros(n_visible)
        self.b = np.zeros(n_hidden)

    def energy(self, v: Array, h: Array) -> Array:
        """``E(v, h) = -a·v - b·h - vᵀWh``: (N,) for ``v`` (N, V) and ``h`` (N, H)."""
        energies: Array = -(v @ self.a) - h @ self.b - ((v @ self.w) * h).sum(axis=-1)
        return energies

    def hidden(self, v: Array) -> Array:
        """``p(h_j = 1 | v) = σ(b_j + Σ_i v_i w_ij)``: (N, H)."""
        return sigmoid(v @ self.w + self.b)

    def visible(self, h: Array) -> Array:
        """``p(v_i = 1 | h) = σ(a_i + Σ_j w_ij h_j)``: (N, V)."""
        return sigmoid(h @ self.w.T + self.a)

    def free_energy(self, v: Array) -> Array:
        """``F(v) = -log Σ_h exp(-E(v, h)) = -a·v - Σ_j log(1 + exp(b_j + Σ_i v_i w_ij))``: (N,)."""
        energies: Array = -(v @ self.a) - np.logaddexp(0.0, v @ self.w + self.b).sum(axis=-1)
        return energies

    def log_partition(self) -> float:
        """``log Z``, by listing all states of the smaller side; the other side is summed by formula.

        Raises:
            ValueError: both sides have more units than can be listed.
        """
        if len(self.b) <= len(self.a):
            h = binary_states(len(self.b))
            terms = h @ self.b + np.logaddexp(0.0, h @ self.w.T + self.a).sum(axis=-1)
        else:
            terms = -self.free_energy(binary_states(len(self.a)))
        return float(np.logaddexp.reduce(terms))

    def log_likelihood(self, v: Array) -> float:
        """The mean of ``log p(v) = -F(v) - log Z`` over the rows of ``v`` (N, V), exact, in nats."""
        return float(-self.free_energy(v).mean() - self.log_partition())

    def exact_gradient(self, v: Array) -> RBMGradient:
        """Of :meth:`log_likelihood`: ``<v_i h_j>_data - <v_i h_j>_model``, the model's mean over all visible states."""
        states = binary_states(len(self.a))
        probability = np.exp(-self.free_energy(states) - self.log_partition())
        return self._difference(v, states, probability)

    def cd_gradient(self, v: Array, *, generator: np.random.Generator, k: int = 1) -> RBMGradient:
        """Contrastive divergence: ``<v_i h_j>_data - <v_i h_j>_k`` (Hinton 2002, section 5; CD-1 for ``k = 1``).

        The model's mean is taken not where a long chain of samples ends but after ``k`` steps that start at the data.
        """
        reached = v
        for _ in range(k):
            h = sample(self.hidden(reached), generator=generator)
            reached = sample(self.visible(h), generator=generator)
        return self._difference(v, reached, np.full(len(v), 1 / len(v)))

    def _difference(self, data: Array, other: Array, weight: Array) -> RBMGradient:
        """Of the two sides' means; the hidden units enter with their probabilities, which adds no noise."""
        h, h_other = self.hidden(data), self.hidden(other)
        other = other * weight[:, None]
        return RBMGradient(
            w=data.T @ h / len(data) - other.T @ h_other,
            a=data.mean(axis=0) - other.sum(axis=0),
            b=h.mean(axis=0) - weight @ h_other,
        )


def sample(probabilities: Array, *, generator: np.random.Generator) -> Array:
    """1 with each of the probabilities, else 0; any shape.

    >>> sample(np.array([0.0, 1.0]), generator=np.random.default_rng(0)).tolist()
    [0.0, 1.0]
    """
    return (generator.random(probabilities.shape) < probabilities).astype(np.float64)


def gibbs(rbm: RBM, v: Array, *, steps: int, generator: np.random.Generator) -> Array:
    """The probabilities of the visible units (N, V) after so many steps of sampling, hidden and visible in turn.

    >>> rbm = RBM(3, 2, generator=np.random.default_rng(0))
    >>> gibbs(rbm, np.zeros((4, 3)), steps=2, generator=np.random.default_rng(0)).shape
    (4, 3)
    """
    require(steps >= 1, f"steps={steps}; take one at least")
    probabilities = v
    for _ in range(steps):
        h = sample(rbm.hidden(v), generator=generator)
        probabilities = rbm.visible(h)
        v = sample(probabilities, generator=generator)
    return probabilities


def train_rbm(
    rbm: RBM,
    v: Array,
    *,
    epochs: int,
    rate: float = 0.1,
    momentum: float = 0.5,
    batch_size: int | None = None,
    generator: np.random.Generator,
) -> list[float]:
    """Learn by CD-1, in place; the mean squared error of one step's reconstruction before each epoch.

    Args:
        rbm: what is trained.
        v: the examples (N, V), 0 or 1, or probabilities, which then enter as they are.
        epochs: how often all examples are shown.
        rate: of each step up the gradient.
        momentum: the share of the last step in the next one.
        batch_size: examples a step; by default all.
        generator: where the chance comes from.

    >>> v = bars_and_stripes(2)
    >>> rbm = RBM(4, 4, generator=np.random.default_rng(0))
    >>> before = rbm.log_likelihood(v)
    >>> errors = train_rbm(rbm, v, epochs=2000, rate=0.3, generator=np.random.default_rng(0))
    >>> round(before, 1), round(rbm.log_likelihood(v), 1)
    (-2.8, -2.3)
    """
    batch_size = len(v) if batch_size is None else batch_size
    step = RBMGradient(np.zeros_like(rbm.w), np.zeros_like(rbm.a), np.zeros_like(rbm.b))
    errors = []
    for _ in range(epochs):
        errors.append(float(((rbm.visible(rbm.hidden(v)) - v) ** 2).mean()))
        for rows in np.split(generator.permutation(len(v)), range(batch_size, len(v), batch_size)):
            up = rbm.cd_gradient(v[rows], generator=generator)
            step = RBMGradient(
                momentum * step.w + rate * up.w, momentum * step.a + rate * up.a, momentum * step.b + rate * up.b
            )
            rbm.w, rbm.a, rbm.b = rbm.w + step.w, rbm.a + step.a, rbm.b + step.b
    return errors


def bars_and_stripes(side: int) -> Array:
    """Every picture of ``side`` x ``side`` pixels whose rows are each full or empty, or whose columns are.

    There are ``2^(side + 1) - 2`` of them, so the best mean log-likelihood is minus the log of that.

    >>> bars_and_stripes(2).shape, bars_and_stripes(3).shape
    ((6, 4), (14, 9))
    """
    lines = binary_states(side)
    bars = np.repeat(lines, side, axis=1)
    return np.unique(np.vstack([bars, np.tile(lines, side)]), axis=0)

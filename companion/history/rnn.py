r"""Recurrent nets with back-propagation through time by hand: Elman's simple net and the LSTM.

Both read a sequence step by step and answer once, after its last step. Back-propagation through time unrolls the
loop into one layer a step and goes back through all of them (Rumelhart, Hinton & Williams 1986; Werbos 1990). Elman
(1990) and Hochreiter & Schmidhuber (1997) themselves cut the way back short; it is full here.

Letters in the shapes: T steps, B sequences, I inputs, H hidden units, C classes.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from companion.errors import require

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Backward:
    """What the way back gives.

    Attributes:
        gradients: of the loss, for each parameter by name.
        state: of the loss for the state after each step, (T, B, H): how much the answer would change with it. The state
            is the hidden units of an Elman net and the cells of an LSTM.
        loss: mean of ``-log p(label)``, in nats.
    """

    gradients: dict[str, Array]
    state: Array
    loss: float


class RecurrentNet(Protocol):
    """What both nets can do."""

    parameters: dict[str, Array]

    def scores(self, x: Array) -> Array:
        """(B, C), after the last step of ``x`` (T, B, I)."""

    def backward(self, x: Array, labels: Labels) -> Backward:
        """The loss for the labels (B,) and its gradients."""


class Elman:
    r"""``h_t = tanh(U x_t + W h_{t-1} + b)`` and scores ``V h_T + c`` (Elman 1990, with tanh for his sigmoid).

    Elman's "context units" are the copy of the hidden units that the next step sees: ``h_{t-1}``.

    >>> net = Elman(2, 3, 4, generator=np.random.default_rng(0))
    >>> net.scores(np.zeros((5, 6, 2))).shape
    (6, 4)
    """

    def __init__(self, n_inputs: int, n_hidden: int, n_classes: int, *, generator: np.random.Generator) -> None:
        self.parameters = {
            "U": _uniform(n_inputs, n_hidden, n_hidden, generator),
            "W": _uniform(n_hidden, n_hidden, n_hidden, generator),
            "b": np.zeros(n_hidden),
            "V": _uniform(n_hidden, n_classes, n_hidden, generator),
            "c": np.zeros(n_classes),
        }

    def states(self, x: Array) -> Array:
        """The hidden units before the first step (zeros) and after each: (T + 1, B, H) for ``x`` (T, B, I)."""
        p = self.parameters
        h = np.zeros((len(x) + 1, x.shape[1], len(p["W"])))
        for t, x_t in enumerate(x):
            h[t + 1] = np.tanh(x_t @ p["U"] + h[t] @ p["W"] + p["b"])
        return h

    def scores(self, x: Array) -> Array:
        """(B, C), after the last step of ``x`` (T, B, I)."""
        scores: Array = self.states(x)[-1] @ self.parameters["V"] + self.parameters["c"]
        return scores

    def backward(self, x: Array, labels: Labels) -> Backward:
        """The loss for the labels (B,) and its gradients.

        From ``∂E/∂h_t`` to ``∂E/∂h_{t-1} = (∂E/∂h_t (1 - h_t²)) Wᵀ``, one step after the other: a product of T
        matrices, which is why it vanishes or explodes.
        """
        p, h = self.parameters, self.states(x)
        loss, dscores = _cross_entropy(h[-1] @ p["V"] + p["c"], labels)
        dh, dz = np.zeros_like(h[1:]), np.zeros_like(h[1:])
        dh[-1] = dscores @ p["V"].T
        for t in reversed(range(len(x))):
            dz[t] = dh[t] * (1 - h[t + 1] ** 2)
            if t > 0:
                dh[t - 1] = dz[t] @ p["W"].T
        gradients = {"U": _outer(x, dz), "W": _outer(h[:-1], dz), "b": dz.sum(axis=(0, 1))}
        gradients |= {"V": h[-1].T @ dscores, "c": dscores.sum(axis=0)}
        return Backward(gradients, dh, loss)


class LSTM:
    r"""Long short-term memory (Hochreiter & Schmidhuber 1997) with the forget gate of Gers et al. (2000).

    Gates ``i, f, o = σ(U x_t + W h_{t-1} + b)``, candidate ``g = tanh(...)`` likewise; cells ``c_t = f c_{t-1} + i g``;
    hidden units ``h_t = o tanh(c_t)``; scores ``V h_T + c``. From ``c_t`` to ``c_{t-1}`` there is no matrix and no
    squashing on the way, only the forget gate: where it is near 1, what was stored stays.

    ``U``, ``W`` and ``b`` hold the four in the order i, f, g, o, as in PyTorch.

    >>> net = LSTM(2, 3, 4, generator=np.random.default_rng(0))
    >>> net.scores(np.zeros((5, 6, 2))).shape, net.parameters["U"].shape
    ((6, 4), (2, 12))
    """

    def __init__(
        self,
        n_inputs: int,
        n_hidden: int,
        n_classes: int,
        *,
        generator: np.random.Generator,
        forget_bias: float = 3.0,
    ) -> None:
        """Draw the weights.

        Args:
            n_inputs: I.
            n_hidden: H.
            n_classes: C.
            generator: where the chance comes from.
            forget_bias: where the forget gates start; a positive number keeps them open at first (Gers et al. 2000).
        """
        self.parameters = {
            "U": _uniform(n_inputs, 4 * n_hidden, n_hidden, generator),
            "W": _uniform(n_hidden, 4 * n_hidden, n_hidden, generator),
            "b": np.repeat([0.0, forget_bias, 0.0, 0.0], n_hidden),
            "V": _uniform(n_hidden, n_classes, n_hidden, generator),
            "c": np.zeros(n_classes),
        }

    def states(self, x: Array) -> tuple[Array, Array, Array]:
        """Gates (T, B, 4H) in the order i, f, g, o; hidden units and cells (T + 1, B, H), the first of them zeros."""
        p, H = self.parameters, len(self.parameters["W"])
        gates = np.empty((len(x), x.shape[1], 4 * H))
        h, c = np.zeros((2, len(x) + 1, x.shape[1], H))
        for t, x_t in enumerate(x):
            z = x_t @ p["U"] + h[t] @ p["W"] + p["b"]  # (B, 4H)
            gates[t] = 0.5 * (1 + np.tanh(0.5 * z))  # σ
            gates[t, :, 2 * H : 3 * H] = np.tanh(z[:, 2 * H : 3 * H])
            i, f, g, o = np.split(gates[t], 4, axis=-1)
            c[t + 1] = f * c[t] + i * g
            h[t + 1] = o * np.tanh(c[t + 1])
        return gates, h, c

    def scores(self, x: Array) -> Array:
        """(B, C), after the last step of ``x`` (T, B, I)."""
        scores: Array = self.states(x)[1][-1] @ self.parameters["V"] + self.parameters["c"]
        return scores

    def backward(self, x: Array, labels: Labels) -> Backward:
        """The loss for the labels (B,) and its gradients.

        Two ways lead back: from ``c_t`` through the forget gate, and from ``h_t`` through the gates and ``W``.
        """
        p = self.parameters
        gates, h, c = self.states(x)
        loss, dscores = _cross_entropy(h[-1] @ p["V"] + p["c"], labels)
        dz, state = np.zeros_like(gates), np.zeros_like(c[1:])
        dh, dc = dscores @ p["V"].T, np.zeros_like(c[0])
        for t in reversed(range(len(x))):
            i, f, g, o = np.split(gates[t], 4, axis=-1)
            squashed = np.tanh(c[t + 1])
            state[t] = dc = dc + dh * o * (1 - squashed**2)
            di, df, dg, do = dc * g, dc * c[t], dc * i, dh * squashed
            dz[t] = np.hstack([di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)])
            dh, dc = dz[t] @ p["W"].T, dc * f
        gradients = {"U": _outer(x, dz), "W": _outer(h[:-1], dz), "b": dz.sum(axis=(0, 1))}
        gradients |= {"V": h[-1].T @ dscores, "c": dscores.sum(axis=0)}
        return Backward(gradients, state, loss)


def lag_task(n: int, lag: int, *, generator: np.random.Generator) -> tuple[Array, Labels]:
    """Sequences whose first symbol is the answer, with ``lag`` symbols after it that mean nothing.

    The first is A or B, the others are x or y, all by chance; each is one-hot. A simple form of the tasks with which
    Bengio, Simard & Frasconi (1994) and Hochreiter & Schmidhuber (1997) showed what recurrence forgets.

    Returns:
        ``x`` (lag + 1, n, 4) and the labels (n,): 0 for A, 1 for B.

    >>> x, labels = lag_task(2, 3, generator=np.random.default_rng(0))
    >>> ["".join("ABxy"[i] for i in row) for row in x.argmax(axis=-1).T], labels.tolist()
    (['Byxx', 'Bxxx'], [1, 1])
    """
    require(n >= 1 and lag >= 0, f"n={n}, lag={lag}; ask for one sequence at least and no negative lag")
    labels = generator.integers(0, 2, size=n)
    symbols = np.vstack([labels, generator.integers(2, 4, size=(lag, n))])
    return np.eye(4)[symbols], labels


def train_recurrent(
    net: RecurrentNet,
    lag: int,
    *,
    steps: int,
    min_lag: int | None = None,
    rate: float = 0.05,
    momentum: float = 0.9,
    clip: float = 1.0,
    batch_size: int = 16,
    generator: np.random.Generator,
) -> list[float]:
    """Learn :func:`lag_task` from fresh sequences, in place; the loss of each step.

    Every step has the same ``lag``, or one drawn from ``min_lag`` to ``lag``; short lags among the long ones teach both
    nets, and even an Elman net may then find a state that keeps. Momentum descent; a gradient longer than ``clip`` is
    shortened to it (Pascanu, Mikolov & Bengio 2013), because recurrent gradients also explode.

    >>> net = Elman(4, 8, 2, generator=np.random.default_rng(0))
    >>> losses = train_recurrent(net, 3, steps=100, generator=np.random.default_rng(0))
    >>> recall_accuracy(net, 3, generator=np.random.default_rng(1))
    1.0
    """
    min_lag = lag if min_lag is None else min_lag
    require(0 <= min_lag <= lag, f"lags from {min_lag} to {lag}; the first must not be the larger one, nor negative")
    moves = {name: np.zeros_like(p) for name, p in net.parameters.items()}
    losses = []
    for _ in range(steps):
        x, labels = lag_task(batch_size, int(generator.integers(min_lag, lag + 1)), generator=generator)
        back = net.backward(x, labels)
        norm = float(np.sqrt(sum((g**2).sum() for g in back.gradients.values())))
        for name, gradient in back.gradients.items():
            moves[name] = momentum * moves[name] - rate * min(1.0, clip / norm) * gradient
            net.parameters[name] = net.parameters[name] + moves[name]
        losses.append(back.loss)
    return losses


def recall_accuracy(net: RecurrentNet, lag: int, *, n: int = 1000, generator: np.random.Generator) -> float:
    """The share of ``n`` fresh sequences of :func:`lag_task` that the net answers rightly; chance gives 0.5.

    >>> net = Elman(4, 8, 2, generator=np.random.default_rng(0))
    >>> 0.3 < recall_accuracy(net, 5, generator=np.random.default_rng(1)) < 0.7
    True
    """
    x, labels = lag_task(n, lag, generator=generator)
    return float(np.mean(net.scores(x).argmax(axis=1) == labels))


def gradient_by_distance(net: RecurrentNet, lag: int, *, n: int = 64, generator: np.random.Generator) -> Array:
    """How long the gradient for the state is, 0, 1, ..., ``lag`` steps before the end: (lag + 1,), the mean over ``n``.

    Entry 0 is the state that the answer is read from. The loss is not averaged here: each sequence counts as one.

    >>> net = Elman(4, 8, 2, generator=np.random.default_rng(0))
    >>> norms = gradient_by_distance(net, 20, generator=np.random.default_rng(1))
    >>> bool(norms[20] < 1e-3 * norms[0])
    True
    """
    x, labels = lag_task(n, lag, generator=generator)
    lengths = np.linalg.norm(net.backward(x, labels).state * n, axis=-1)  # (T, B)
    means: Array = lengths.mean(axis=1)[::-1]
    return means


def _cross_entropy(scores: Array, labels: Labels) -> tuple[float, Array]:
    """The mean loss, and its gradient for the scores (B, C): ``(p - one_hot) / B``."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    p = powers / powers.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = float(-np.log(p[rows, labels]).mean())
    p[rows, labels] -= 1
    return loss, p / len(labels)


def _outer(below: Array, above: Array) -> Array:
    """The sum of ``belowᵀ above`` over steps and sequences: (I, H) for (T, B, I) and (T, B, H)."""
    return below.reshape(-1, below.shape[-1]).T @ above.reshape(-1, above.shape[-1])


def _uniform(rows: int, columns: int, n_hidden: int, generator: np.random.Generator) -> Array:
    return generator.uniform(-(n_hidden**-0.5), n_hidden**-0.5, size=(rows, columns))

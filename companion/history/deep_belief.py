r"""A deep belief network: restricted Boltzmann machines trained one on top of the other, then fine-tuned to classify.

Each machine learns the hidden activities of the one below as if they were data (Hinton, Osindero & Teh 2006, section
4). That paper then fine-tuned the whole as a generative model, by the up-down algorithm. Fine-tuning it by
back-propagation for the labels, as here, is the way of Hinton & Salakhutdinov (2006) and Bengio et al. (2007).

Letters in the shapes: N examples, V pixels, C classes.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from companion.errors import require
from companion.history.boltzmann import RBM, gibbs, sigmoid, train_rbm

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def train_greedily(
    x: Array,
    hidden: Sequence[int],
    *,
    epochs: int = 15,
    momentum: float = 0.8,
    batch_size: int = 20,
    generator: np.random.Generator,
) -> list[RBM]:
    """One machine a layer, from the bottom up, each by CD-1 on the activities below; labels are not needed.

    Args:
        x: the examples, (N, V), numbers from 0 to 1 taken as probabilities.
        hidden: units in each hidden layer.
        epochs: how often each layer sees all examples.
        momentum: the share of the last step in the next one.
        batch_size: examples a step.
        generator: where the chance comes from.

    >>> x = np.random.default_rng(0).random((40, 6))
    >>> [rbm.w.shape for rbm in train_greedily(x, [4, 3], epochs=1, generator=np.random.default_rng(0))]
    [(6, 4), (4, 3)]
    """
    require(len(hidden) >= 1, "hidden=[]; a deep belief network has one hidden layer at least")
    machines: list[RBM] = []
    for size in hidden:
        rbm = RBM(x.shape[1], size, generator=generator)
        train_rbm(rbm, x, epochs=epochs, momentum=momentum, batch_size=batch_size, generator=generator)
        machines.append(rbm)
        x = rbm.hidden(x)
    return machines


def dream(machines: Sequence[RBM], n: int, *, steps: int = 200, generator: np.random.Generator) -> Array:
    """``n`` pictures (n, V) that the network makes up: sampling in the top machine, then one pass down.

    >>> machines = train_greedily(np.ones((5, 6)), [4, 3], epochs=1, generator=np.random.default_rng(0))
    >>> dream(machines, 2, steps=3, generator=np.random.default_rng(0)).shape
    (2, 6)
    """
    top = machines[-1]
    x = gibbs(top, generator.random((n, len(top.a))).round(), steps=steps, generator=generator)
    for rbm in reversed(machines[:-1]):
        x = rbm.visible(x)
    return x


class DeepNet:
    """Sigmoid layers and a softmax on top, with back-propagation by hand.

    Attributes:
        weights: one (units below, units above) a layer.
        biases: one (units above,) a layer.
    """

    def __init__(self, weights: Sequence[Array], biases: Sequence[Array]) -> None:
        self.weights, self.biases = list(weights), list(biases)

    @classmethod
    def from_machines(cls, machines: Sequence[RBM], n_classes: int = 10) -> "DeepNet":
        """The upward half of trained machines, and a top of zeros.

        >>> machines = train_greedily(np.ones((5, 6)), [4, 3], epochs=1, generator=np.random.default_rng(0))
        >>> [w.shape for w in DeepNet.from_machines(machines).weights]
        [(6, 4), (4, 3), (3, 10)]
        """
        top = np.zeros((len(machines[-1].b), n_classes))
        return cls([rbm.w for rbm in machines] + [top], [rbm.b for rbm in machines] + [np.zeros(n_classes)])

    @classmethod
    def from_chance(
        cls, sizes: Sequence[int], *, generator: np.random.Generator, std: float | None = None
    ) -> "DeepNet":
        """No pretraining: normal weights and a top of zeros.

        Args:
            sizes: units in each layer, pixels first, classes last.
            generator: where the chance comes from.
            std: of the weights. By default that of Glorot & Bengio (2010), √(2 / (units below + units above)).

        >>> [w.shape for w in DeepNet.from_chance([6, 4, 10], generator=np.random.default_rng(0)).weights]
        [(6, 4), (4, 10)]
        """
        pairs = list(pairwise(sizes[:-1]))
        weights = [generator.normal(0.0, (2 / (i + j)) ** 0.5 if std is None else std, size=(i, j)) for i, j in pairs]
        return cls([*weights, np.zeros(sizes[-2:])], [np.zeros(j) for j in sizes[1:]])

    def forward(self, x: Array) -> list[Array]:
        """The activities of all layers, from the inputs to the probabilities (N, C)."""
        activities = [x]
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            activities.append(sigmoid(activities[-1] @ w + b))
        scores = activities[-1] @ self.weights[-1] + self.biases[-1]
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return [*activities, powers / powers.sum(axis=1, keepdims=True)]

    def loss(self, x: Array, labels: Labels) -> float:
        """The mean of ``-log p(label)``, in nats."""
        return float(-np.log(self.forward(x)[-1][np.arange(len(x)), labels]).mean())

    def gradients(self, x: Array, labels: Labels) -> list[tuple[Array, Array]]:
        """Of :meth:`loss`: (weights, biases) of each layer, from the inputs on.

        Of softmax and cross-entropy together it is ``(p - one_hot) / N``; below, each sigmoid gives ``y (1 - y)``.
        """
        activities = self.forward(x)
        dz = (activities[-1] - np.eye(activities[-1].shape[1])[labels]) / len(x)
        found = [(activities[-2].T @ dz, dz.sum(axis=0))]
        for w, below, y in zip(self.weights[:0:-1], activities[-3::-1], activities[-2:0:-1], strict=True):
            dz = (dz @ w.T) * y * (1 - y)
            found.append((below.T @ dz, dz.sum(axis=0)))
        return found[::-1]


def fine_tune(
    net: DeepNet,
    x: Array,
    labels: Labels,
    *,
    epochs: int = 15,
    rate: float = 0.1,
    momentum: float = 0.9,
    batch_size: int = 20,
    generator: np.random.Generator,
) -> list[float]:
    """Descend on the labels with mini-batches and momentum, in place; the loss after each epoch.

    >>> net = DeepNet.from_chance([2, 3, 2], generator=np.random.default_rng(0))
    >>> x, labels = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0, 1])
    >>> losses = fine_tune(net, x, labels, epochs=100, generator=np.random.default_rng(0))
    >>> net.forward(x)[-1].argmax(axis=1).tolist(), losses[-1] < losses[0]
    ([0, 1], True)
    """
    steps = [(np.zeros_like(w), np.zeros_like(b)) for w, b in zip(net.weights, net.biases, strict=True)]
    losses = []
    for _ in range(epochs):
        for rows in np.split(generator.permutation(len(x)), range(batch_size, len(x), batch_size)):
            for layer, (dw, db) in enumerate(net.gradients(x[rows], labels[rows])):
                step_w, step_b = steps[layer]
                steps[layer] = (momentum * step_w - rate * dw, momentum * step_b - rate * db)
                net.weights[layer] = net.weights[layer] + steps[layer][0]
                net.biases[layer] = net.biases[layer] + steps[layer][1]
        losses.append(net.loss(x, labels))
    return losses

r"""A multilayer net with back-propagation written by hand (Rumelhart, Hinton & Williams 1986, equations 1 to 9).

The units are theirs, sigmoids with a squared error at the end; nothing here knows how to differentiate.

Letters in the shapes: B examples, I units of a layer below, J units of the layer above, C outputs.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from companion.errors import require

Array = npt.NDArray[np.float64]
#: For each layer: the gradient of its weights (I, J) and of its biases (J,).
Gradients = list[tuple[Array, Array]]


def sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))`` (equation 2), for any size of ``x``.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return 0.5 * (1 + np.tanh(0.5 * x))


def squared_error(y: Array, d: Array) -> float:
    """``E = ½ Σ (y - d)²`` over all examples and outputs (equation 3).

    >>> squared_error(np.array([[1.0, 0.0]]), np.array([[0.0, 0.0]]))
    0.5
    """
    return float(0.5 * ((y - d) ** 2).sum())


class MLP:
    """Layers of sigmoid units, each joined to every unit of the next.

    Attributes:
        weights: one (I, J) a layer.
        biases: one (J,) a layer.

    >>> net = MLP([2, 3, 1], generator=np.random.default_rng(0))
    >>> [w.shape for w in net.weights], net.forward(np.zeros((4, 2)))[-1].shape
    ([(2, 3), (3, 1)], (4, 1))
    """

    def __init__(self, sizes: Sequence[int], *, generator: np.random.Generator, scale: float | None = None) -> None:
        """Draw the weights.

        Args:
            sizes: units in each layer, inputs first.
            generator: where the chance comes from.
            scale: weights are uniform from -scale to scale; by default 1/√I, so that sums do not grow with the layer.
        """
        require(len(sizes) >= 2, f"sizes={list(sizes)}; a net has inputs and outputs at least, as in [2, 1]")
        pairs = list(pairwise(sizes))
        spans = [i**-0.5 if scale is None else scale for i, _ in pairs]
        self.weights = [generator.uniform(-s, s, size=pair) for s, pair in zip(spans, pairs, strict=True)]
        self.biases = [np.zeros(j) for _, j in pairs]

    def forward(self, x: Array) -> list[Array]:
        """The activities of all layers, from the inputs (B, I) to the outputs (B, C).

        ``x_j = Σ_i y_i w_ij`` (equation 1), ``y_j = sigmoid(x_j)`` (equation 2).
        """
        activities = [x]
        for w, b in zip(self.weights, self.biases, strict=True):
            activities.append(sigmoid(activities[-1] @ w + b))
        return activities

    def backward(self, activities: list[Array], d: Array) -> Gradients:
        """The gradient of :func:`squared_error` for the wanted outputs ``d`` (B, C), layer by layer from the inputs on.

        Equations 4 to 7, from the last layer to the first.
        """
        gradients: Gradients = []
        dy = activities[-1] - d  # equation 4, (B, C)
        for w, below, y in zip(reversed(self.weights), activities[-2::-1], activities[:0:-1], strict=True):
            dx = dy * y * (1 - y)  # equation 5, (B, J)
            gradients.append((below.T @ dx, dx.sum(axis=0)))  # equation 6, summed over the examples
            dy = dx @ w.T  # equation 7, (B, I)
        return gradients[::-1]


def train_mlp(
    net: MLP,
    x: Array,
    d: Array,
    *,
    epochs: int,
    rate: float,
    momentum: float = 0.9,
    batch_size: int | None = None,
    generator: np.random.Generator | None = None,
) -> list[float]:
    r"""Descend: ``Δw(t) = -ε ∂E/∂w(t) + α Δw(t - 1)`` (equation 9), in place; the error of each epoch.

    Args:
        net: what is trained.
        x: the examples, (N, I).
        d: the wanted outputs, (N, C).
        epochs: how often all examples are shown.
        rate: ε.
        momentum: α; 0 gives equation 8.
        batch_size: a step after so many examples; by default after all of them, as in the paper.
        generator: gives the order of the examples anew in each epoch; by default they keep theirs.

    Raises:
        ValueError: ``x`` and ``d`` have different numbers of rows.

    >>> corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> xor = np.array([[0.0], [1.0], [1.0], [0.0]])
    >>> net = MLP([2, 4, 1], generator=np.random.default_rng(0), scale=1.0)
    >>> errors = train_mlp(net, corners, xor, epochs=2000, rate=0.5)
    >>> net.forward(corners)[-1].round().ravel().tolist(), errors[-1] < 0.01
    ([0.0, 1.0, 1.0, 0.0], True)
    """
    require(len(x) == len(d), f"{len(x)} examples and {len(d)} wanted outputs; give one for each")
    steps = [(np.zeros_like(w), np.zeros_like(b)) for w, b in zip(net.weights, net.biases, strict=True)]
    batch_size = len(x) if batch_size is None else batch_size
    errors = []
    for _ in range(epochs):
        order = np.arange(len(x)) if generator is None else generator.permutation(len(x))
        error = 0.0
        for rows in np.split(order, range(batch_size, len(x), batch_size)):
            activities = net.forward(x[rows])
            error += squared_error(activities[-1], d[rows])
            for layer, (dw, db) in enumerate(net.backward(activities, d[rows])):
                step_w, step_b = steps[layer]
                steps[layer] = (momentum * step_w - rate * dw, momentum * step_b - rate * db)
                net.weights[layer] = net.weights[layer] + steps[layer][0]
                net.biases[layer] = net.biases[layer] + steps[layer][1]
        errors.append(error)
    return errors

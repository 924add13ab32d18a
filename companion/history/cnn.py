r"""A small convolutional net in the manner of LeNet, with the convolution and its gradient spelled out.

Three ideas (LeCun et al. 1989): a unit sees a small window only; all units of a map share the same weights; further up
the resolution is coarser and the maps are more. The layers follow LeNet-5 (LeCun et al. 1998, section II.B) on an 8x8
picture: convolution, averaging, convolution, a dense layer. LeNet-5's averaging had a weight and a bias a map, and its
outputs were distances to templates; here the averaging is plain and the outputs are a softmax.

Letters in the shapes: B pictures, I maps in, O maps out, Y and X height and width, K kernel, C classes.
"""

import math

import numpy as np
import numpy.typing as npt

from companion.errors import require

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def convolve_by_hand(x: Array, kernel: Array, bias: Array) -> Array:
    r"""The convolution as it is written down, six loops: (O, Y-K+1, X-K+1) for one picture (I, Y, X).

    ``out[o, y, x] = b[o] + Σ_i Σ_u Σ_v kernel[o, i, u, v] · in[i, y + u, x + v]``. As everywhere in this field, the
    kernel is not turned over, so mathematicians would say cross-correlation.

    >>> picture, edge = np.array([[[0.0, 0.0, 1.0, 1.0]]]), np.array([[[[-1.0, 1.0]]]])
    >>> convolve_by_hand(picture, edge, np.zeros(1)).tolist()
    [[[0.0, 1.0, 0.0]]]
    """
    O, I, K, L = kernel.shape
    out = np.empty((O, x.shape[1] - K + 1, x.shape[2] - L + 1))
    for o in range(O):
        for row in range(out.shape[1]):
            for column in range(out.shape[2]):
                total = bias[o]
                for i in range(I):
                    for u in range(K):
                        for v in range(L):
                            total += kernel[o, i, u, v] * x[i, row + u, column + v]
                out[o, row, column] = total
    return out


def convolve(x: Array, kernel: Array, bias: Array) -> Array:
    """:func:`convolve_by_hand` for many pictures at once: (B, O, Y-K+1, X-K+1) for ``x`` (B, I, Y, X).

    Every window becomes a row, every kernel a column, and the six loops one matrix product.

    Raises:
        ValueError: the shapes do not fit.

    >>> convolve(np.ones((1, 2, 4, 4)), np.ones((3, 2, 3, 3)), np.zeros(3))[0, 0].tolist()
    [[18.0, 18.0], [18.0, 18.0]]
    """
    require(
        x.ndim == kernel.ndim == 4 and x.shape[1] == kernel.shape[1],
        lambda: f"pictures (B, I, Y, X) and kernels (O, I, K, K) must have the same I; got {x.shape}, {kernel.shape}",
    )
    O, _, K, L = kernel.shape
    rows = _windows(x, K, L)  # (B, Y', X', I·K·K)
    return np.moveaxis(rows @ kernel.reshape(O, -1).T + bias, -1, 1)


def convolve_back(kernel: Array, upstream: Array) -> Array:
    """The gradient for the pictures, (B, I, Y, X), given that for the result, ``upstream`` (B, O, Y-K+1, X-K+1).

    A pixel gets something back from every window that saw it, each time through the weight that it had there. That is
    again a convolution: of ``upstream`` with a border of zeros, and of kernels turned over with I and O exchanged.

    >>> convolve_back(np.array([[[[-1.0, 1.0]]]]), np.array([[[[0.0, 5.0, 0.0]]]])).tolist()
    [[[[0.0, -5.0, 5.0, 0.0]]]]
    """
    K, L = kernel.shape[2:]
    padded = np.pad(upstream, ((0, 0), (0, 0), (K - 1, K - 1), (L - 1, L - 1)))
    turned = kernel[:, :, ::-1, ::-1].swapaxes(0, 1)  # (I, O, K, K)
    return convolve(padded, turned, np.zeros(len(turned)))


def kernel_gradients(x: Array, upstream: Array) -> tuple[Array, Array]:
    """The gradients for the kernels (O, I, K, K) and the biases (O,).

    A shared weight is used at every place, so its gradient is a sum over all places.

    >>> picture = np.array([[[[0.0, 0.0, 1.0, 1.0]]]])
    >>> [g.tolist() for g in kernel_gradients(picture, np.ones((1, 1, 1, 3)))]
    [[[[[1.0, 2.0]]]], [3.0]]
    """
    O, rows, columns = upstream.shape[1:]
    K, L = x.shape[2] - rows + 1, x.shape[3] - columns + 1
    flat = np.moveaxis(upstream, 1, -1).reshape(-1, O)  # (B·Y'·X', O)
    windows = _windows(x, K, L).reshape(len(flat), -1)  # (B·Y'·X', I·K·K)
    return (flat.T @ windows).reshape(O, x.shape[1], K, L), flat.sum(axis=0)


def _windows(x: Array, K: int, L: int) -> Array:
    """(B, Y-K+1, X-L+1, I·K·L): what each place sees."""
    seen = np.lib.stride_tricks.sliding_window_view(x, (K, L), axis=(2, 3))  # (B, I, Y', X', K, L)
    B, I, rows, columns = seen.shape[:4]
    return seen.transpose(0, 2, 3, 1, 4, 5).reshape(B, rows, columns, I * K * L)


def halve(x: Array) -> Array:
    """The mean of each 2x2 square: (B, I, Y/2, X/2), "subsampling" in LeNet.

    >>> halve(np.array([[[[1.0, 3.0], [5.0, 7.0]]]])).tolist()
    [[[[4.0]]]]
    """
    B, I, Y, X = x.shape
    means: Array = x.reshape(B, I, Y // 2, 2, X // 2, 2).mean(axis=(3, 5))
    return means


class LeNet:
    """8x8 pictures to class scores: 3x3 convolution, tanh, halving, 3x3 convolution, tanh, dense layer.

    The first convolution sees a border of zeros, so its maps are 8x8; halved 4x4; after the second convolution 2x2.

    Attributes:
        parameters: kernels and biases by name.

    >>> net = LeNet(generator=np.random.default_rng(0))
    >>> {name: p.shape for name, p in net.parameters.items() if name.endswith("weight")}
    {'conv1.weight': (8, 1, 3, 3), 'conv2.weight': (24, 8, 3, 3), 'out.weight': (96, 10)}
    """

    def __init__(self, *, maps: tuple[int, int] = (8, 24), n_classes: int = 10, generator: np.random.Generator) -> None:
        """Draw weights of variance 1 / (inputs of a unit), uniform (LeCun, Bottou, Orr & Müller 1998, section 4.6)."""
        shapes = {"conv1": (maps[0], 1, 3, 3), "conv2": (maps[1], maps[0], 3, 3), "out": (4 * maps[1], n_classes)}
        self.parameters: dict[str, Array] = {}
        for name, shape in shapes.items():
            inputs = shape[0] if name == "out" else math.prod(shape[1:])
            limit = (3 / inputs) ** 0.5
            self.parameters[f"{name}.weight"] = generator.uniform(-limit, limit, size=shape)
            self.parameters[f"{name}.bias"] = np.zeros(shape[1] if name == "out" else shape[0])

    def forward(self, x: Array) -> dict[str, Array]:
        """What every layer computes for pictures (B, 64) or (B, 8, 8): its last entry, "scores", is (B, C)."""
        p = self.parameters
        padded = np.pad(x.reshape(-1, 1, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))  # (B, 1, 10, 10)
        maps1 = np.tanh(convolve(padded, p["conv1.weight"], p["conv1.bias"]))  # (B, 8, 8, 8)
        half = halve(maps1)  # (B, 8, 4, 4)
        maps2 = np.tanh(convolve(half, p["conv2.weight"], p["conv2.bias"]))  # (B, 24, 2, 2)
        scores = maps2.reshape(len(maps2), -1) @ p["out.weight"] + p["out.bias"]  # (B, C)
        return {"padded": padded, "maps1": maps1, "half": half, "maps2": maps2, "scores": scores}

    def loss(self, x: Array, labels: Labels) -> float:
        """The mean of ``-log softmax(scores)[label]``, in nats."""
        return float(-np.log(_softmax(self.forward(x)["scores"])[np.arange(len(x)), labels]).mean())

    def gradients(self, x: Array, labels: Labels) -> dict[str, Array]:
        """Of :meth:`loss`, for each of the parameters."""
        p, seen = self.parameters, self.forward(x)
        dz = _softmax(seen["scores"])
        dz[np.arange(len(dz)), labels] -= 1
        dz /= len(dz)
        maps1, maps2 = seen["maps1"], seen["maps2"]
        found = {"out.weight": maps2.reshape(len(maps2), -1).T @ dz, "out.bias": dz.sum(axis=0)}
        d2 = (dz @ p["out.weight"].T).reshape(maps2.shape) * (1 - maps2**2)
        found["conv2.weight"], found["conv2.bias"] = kernel_gradients(seen["half"], d2)
        dhalf = convolve_back(p["conv2.weight"], d2)
        d1 = dhalf.repeat(2, axis=2).repeat(2, axis=3) / 4 * (1 - maps1**2)  # each of four pixels had a quarter
        found["conv1.weight"], found["conv1.bias"] = kernel_gradients(seen["padded"], d1)
        return found


def train_lenet(
    net: LeNet,
    x: Array,
    labels: Labels,
    *,
    epochs: int = 8,
    rate: float = 0.1,
    momentum: float = 0.9,
    batch_size: int = 20,
    generator: np.random.Generator,
) -> list[float]:
    """Descend with mini-batches and momentum, in place; the loss after each epoch.

    The rate falls from epoch to epoch, ``rate · (1 - epoch / epochs)``; LeNet-5's fell too (LeCun et al. 1998, section
    III.B).

    >>> net = LeNet(maps=(2, 2), n_classes=2, generator=np.random.default_rng(0))
    >>> x, labels = np.eye(64)[:2], np.array([0, 1])
    >>> losses = train_lenet(net, x, labels, epochs=100, generator=np.random.default_rng(0))
    >>> net.forward(x)["scores"].argmax(axis=1).tolist(), losses[-1] < losses[0]
    ([0, 1], True)
    """
    steps = {name: np.zeros_like(p) for name, p in net.parameters.items()}
    losses = []
    for epoch in range(epochs):
        now = rate * (1 - epoch / epochs)
        for rows in np.split(generator.permutation(len(x)), range(batch_size, len(x), batch_size)):
            for name, gradient in net.gradients(x[rows], labels[rows]).items():
                steps[name] = momentum * steps[name] - now * gradient
                net.parameters[name] = net.parameters[name] + steps[name]
        losses.append(net.loss(x, labels))
    return losses


def parameter_counts(
    maps_in: int, maps_out: int, kernel: int, size_in: tuple[int, int], size_out: tuple[int, int]
) -> dict[str, int]:
    """How many weights and biases join ``maps_in`` pictures to ``maps_out`` maps, in three ways.

    ``shared``: a convolution. ``local``: each place sees the same windows, but has weights of its own. ``dense``: each
    place sees everything.

    >>> parameter_counts(1, 8, 3, (8, 8), (8, 8))
    {'shared': 80, 'local': 5120, 'dense': 33280}
    """
    units, window = maps_out * math.prod(size_out), maps_in * kernel**2
    return {
        "shared": maps_out * (window + 1),
        "local": units * (window + 1),
        "dense": units * (maps_in * math.prod(size_in) + 1),
    }


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))

r"""Automatic differentiation in about a hundred lines: arrays that remember how they were computed.

Each operation makes a :class:`Value` that knows its parents and how to pull a gradient back to them. Going through the
graph from its end to its start, each value after all that used it, gives the gradient of one number for everything that
it was computed from, at the cost of a few forward passes: reverse mode, the idea behind back-propagation and behind
``torch.autograd`` (Linnainmaa 1976; Baydin et al. 2018 is a survey). :mod:`companion.history.graph` draws the graph.

>>> x, w, b, t = Value(2.0, "x"), Value(-1.0, "w"), Value(1.0, "b"), Value(1.0, "t")
>>> loss = ((w * x + b).sigmoid() - t) ** 2
>>> loss.backward()
>>> [round(float(v.grad), 4) for v in (w, b, x)]
[-0.5749, -0.2875, 0.2875]
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from companion.errors import require

Array = npt.NDArray[np.float64]
Pull = Callable[[Array], tuple[Array, ...]]


class Value:
    """An array of float64 with its gradient and its history.

    Attributes:
        data: the numbers.
        grad: after :meth:`backward`, how the last result changes with each of them; same shape.
        name: for drawings.
        parents: the values that it was computed from; none if it was given.
        operation: how, for drawings.

    >>> a = Value([[1.0], [2.0]])
    >>> total = (a * Value([10.0, 20.0, 30.0])).sum()  # (2, 1) and (3,) broadcast
    >>> total.backward()
    >>> float(total.data), a.grad.tolist()
    (180.0, [[60.0], [60.0]])
    """

    __array_ufunc__ = None  # so that array * Value is left to Value

    def __init__(self, data: npt.ArrayLike, name: str = "") -> None:
        self.data: Array = np.asarray(data, dtype=np.float64)
        self.grad: Array = np.zeros_like(self.data)
        self.name = name
        self.parents: tuple[Value, ...] = ()
        self.operation = ""
        self._pull: Pull = lambda upstream: ()

    def __repr__(self) -> str:
        return f"Value({self.data.tolist()})"

    def __add__(self, other: "Value | npt.ArrayLike") -> "Value":
        other = _value(other)
        return _result(self.data + other.data, "+", (self, other), lambda g: (g, g))

    def __mul__(self, other: "Value | npt.ArrayLike") -> "Value":
        other = _value(other)
        return _result(self.data * other.data, "×", (self, other), lambda g: (g * other.data, g * self.data))

    def __pow__(self, exponent: float) -> "Value":
        slope = exponent * self.data ** (exponent - 1)
        return _result(self.data**exponent, f"^{exponent:g}", (self,), lambda g: (g * slope,))

    def __matmul__(self, other: "Value | npt.ArrayLike") -> "Value":
        """The matrix product of (..., n, m) and (..., m, k); axes in front broadcast."""
        other = _value(other)
        require(
            min(self.data.ndim, other.data.ndim) >= 2,
            lambda: f"@ multiplies matrices; got {self.data.shape} and {other.data.shape}; reshape vectors first",
        )
        return _result(
            self.data @ other.data,
            "@",
            (self, other),
            lambda g: (g @ other.data.swapaxes(-1, -2), self.data.swapaxes(-1, -2) @ g),
        )

    def __rmatmul__(self, other: npt.ArrayLike) -> "Value":
        return _value(other) @ self

    def __neg__(self) -> "Value":
        return _result(-self.data, "−", (self,), lambda g: (-g,))

    def __sub__(self, other: "Value | npt.ArrayLike") -> "Value":
        other = _value(other)
        return _result(self.data - other.data, "−", (self, other), lambda g: (g, -g))

    def __truediv__(self, other: "Value | npt.ArrayLike") -> "Value":
        other = _value(other)
        ratio = self.data / other.data
        return _result(ratio, "÷", (self, other), lambda g: (g / other.data, -g * ratio / other.data))

    def __radd__(self, other: npt.ArrayLike) -> "Value":
        return _value(other) + self

    def __rmul__(self, other: npt.ArrayLike) -> "Value":
        return _value(other) * self

    def __rsub__(self, other: npt.ArrayLike) -> "Value":
        return _value(other) - self

    def __rtruediv__(self, other: npt.ArrayLike) -> "Value":
        return _value(other) / self

    def exp(self) -> "Value":
        """``e^x``, whose slope is itself."""
        power = np.exp(self.data)
        return _result(power, "exp", (self,), lambda g: (g * power,))

    def log(self) -> "Value":
        """The natural logarithm, with slope ``1/x``."""
        return _result(np.log(self.data), "log", (self,), lambda g: (g / self.data,))

    def tanh(self) -> "Value":
        """With slope ``1 - tanh²``."""
        y = np.tanh(self.data)
        return _result(y, "tanh", (self,), lambda g: (g * (1 - y**2),))

    def sigmoid(self) -> "Value":
        """``1 / (1 + e^-x)``, with slope ``y (1 - y)``."""
        y = 0.5 * (1 + np.tanh(0.5 * self.data))
        return _result(y, "σ", (self,), lambda g: (g * y * (1 - y),))

    def relu(self) -> "Value":
        """``max(0, x)``, with slope 1 above zero and 0 elsewhere."""
        return _result(np.maximum(self.data, 0.0), "relu", (self,), lambda g: (g * (self.data > 0),))

    def sum(self, axis: int | None = None) -> "Value":
        """Over one axis, which stays with length 1, or over all, which leaves one number."""
        total: Array = np.asarray(self.data.sum(axis=axis, keepdims=axis is not None))
        return _result(total, "sum", (self,), lambda g: (np.broadcast_to(g, self.data.shape),))

    def __getitem__(self, index: Any) -> "Value":
        """The chosen numbers; the others get no gradient."""

        def pull(g: Array) -> tuple[Array]:
            back = np.zeros_like(self.data)
            np.add.at(back, index, g)  # an element that was chosen twice gets both
            return (back,)

        return _result(np.asarray(self.data[index]), "pick", (self,), pull)

    def backward(self) -> None:
        """Fill in ``grad`` of everything that this one number was computed from, anew.

        Raises:
            ValueError: this is not one number.
        """
        require(self.data.size == 1, lambda: f"backward starts at one number; got {self.data.shape}; sum() it first")
        order = topological_order(self)
        for value in order:
            value.grad = np.zeros_like(value.data)
        self.grad = np.ones_like(self.data)
        for value in reversed(order):
            for parent, gradient in zip(value.parents, value._pull(value.grad), strict=True):
                parent.grad = parent.grad + _shrink(gradient, parent.data.shape)


def topological_order(root: Value) -> list[Value]:
    """Every value that ``root`` was computed from, each after its parents, ``root`` last.

    >>> a = Value(3.0, "a")
    >>> [v.name or v.operation for v in topological_order(a * a + 1.0)]
    ['a', '×', '', '+']
    """
    order: list[Value] = []
    seen: set[int] = set()
    stack = [(root, False)]
    while stack:  # a loop, not a recursion: the graph of a long sequence is deeper than Python's stack
        value, parents_done = stack.pop()
        if parents_done:
            order.append(value)
        elif id(value) not in seen:
            seen.add(id(value))
            stack.append((value, True))
            stack += [(parent, False) for parent in reversed(value.parents)]
    return order


def _value(x: Value | npt.ArrayLike) -> Value:
    return x if isinstance(x, Value) else Value(x)


def _result(data: Array, operation: str, parents: tuple[Value, ...], pull: Pull) -> Value:
    result = Value(data)
    result.operation, result.parents, result._pull = operation, parents, pull
    return result


def _shrink(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes along which a number was copied by broadcasting."""
    gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    copied = tuple(i for i, n in enumerate(shape) if n == 1)
    return np.asarray(gradient.sum(axis=copied, keepdims=True)).reshape(shape)

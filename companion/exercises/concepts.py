"""Checks for the exercises of the chapter on concepts. The right answers are computed here, never written down."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from companion.exercises._answers import HALF_A_DIGIT, NotYet, as_number, as_tensor, called, check, expect, near
from companion.history.autograd import Value
from companion.history.cnn import parameter_counts
from companion.history.mlp import MLP, sigmoid
from companion.history.optimizers import SGD, Adam, Momentum, bowl_gradient, descend

Array = NDArray[np.float64]
NEURON = ((1.0, -2.0), (0.5, 0.25), 0.2)  # inputs, weights and bias of the first exercise


@check
def check_neuron(answer: Any) -> str:
    """The output of a sigmoid neuron with x = (1, -2), w = (0.5, 0.25), b = 0.2, to four decimals."""
    given = as_number(answer, "the output of the neuron")
    x, w = (np.array(numbers) for numbers in NEURON[:2])
    z = float(x @ w) + NEURON[2]
    expect(abs(given - z) > HALF_A_DIGIT, "that is the weighted sum with the bias; now the sigmoid")
    expect(not near(given, _sigmoid(z - NEURON[2])), "the bias is missing")
    expect(not near(given, _sigmoid(float(np.abs(x) @ w) + NEURON[2])), "mind the sign of the second input")
    expect(near(given, _sigmoid(z)), "add the products and the bias, then 1 / (1 + e^-z)")
    return f"the weighted sum is {z:.1f}, a little above the middle"


@check
def check_dense_count(answer: Any) -> str:
    """How many parameters a net with 64 inputs, 32 hidden and 10 output units has."""
    given = as_number(answer, "the number of parameters")
    net = MLP([64, 32, 10], generator=np.random.default_rng(0))
    weights, biases = sum(w.size for w in net.weights), sum(b.size for b in net.biases)
    expect(given != weights, "the weights are right; every hidden and every output unit has a bias too")
    expect(given != weights + 64 + biases, "inputs have no bias: they are given")
    expect(given == weights + biases, "64 weights and a bias for each hidden unit, 32 and a bias for each output")
    return f"{weights:,} weights and {biases} biases"


@check
def check_convolution_count(answer: Any) -> str:
    """How many parameters a 5x5 convolution from 3 to 16 maps has, on a picture of 32x32 with a border."""
    given = as_number(answer, "the number of parameters")
    counts = parameter_counts(3, 16, 5, (32, 32), (32, 32))
    expect(given not in (counts["local"], counts["dense"]), "that is without sharing; all places use the same weights")
    expect(given != counts["shared"] - 16, "the weights are right; each of the 16 maps has a bias too")
    expect(given != 16 * (5 * 5 + 1), "each kernel sees all 3 maps: 5 x 5 x 3 weights")
    expect(
        given == counts["shared"], "16 kernels of 5 x 5 x 3 weights and a bias; the size of the picture is no matter"
    )
    return f"without sharing the same windows would need {counts['local']:,}"


@check
def check_class_gradient(answer: Any) -> str:
    """The gradient of the cross-entropy for the scores (1, 2, 3) if the second class is right, to four decimals."""
    given = as_tensor(answer, "a list of three numbers")
    expect(given.shape == (3,), "there is one derivative for each of the three scores")
    scores = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(scores, torch.tensor(1))
    (right,) = torch.autograd.grad(loss, scores)
    p = scores.detach().softmax(dim=0)
    expect(not _close(given, p), "those are the probabilities; subtract 1 where the right class is")
    expect(not _close(given, -right), "the sign is the other way round: p minus the wanted answer")
    expect(
        not _close(given, p - torch.tensor([0.0, 0.0, 1.0], dtype=p.dtype)), "the second class is right, not the third"
    )
    expect(_close(given, right), "softmax of the scores, minus 1 for the right class; the three sum to 0")
    return "p minus the wanted answer, and the sum is 0"


@check
def check_twice(answer: Any) -> str:
    """The derivatives (dL/da, dL/db) of L = (ab + a)² at a = 2, b = -3."""
    given = as_tensor(answer, "a pair (dL/da, dL/db)")
    expect(given.shape == (2,), "give two numbers: dL/da and dL/db")
    a, b = Value(2.0), Value(-3.0)
    loss = (a * b + a) ** 2
    loss.backward()
    right = torch.tensor([float(a.grad), float(b.grad)], dtype=torch.float64)
    outer = 2 * float((a * b + a).data)
    one_way = [torch.tensor([outer * way, float(b.grad)], dtype=torch.float64) for way in (-3.0, 1.0)]
    expect(not any(_close(given, w) for w in one_way), "a is used twice: add what comes back along both ways")
    expect(not _close(given, right.flip(0)), "the other way round: dL/da first")
    expect(_close(given, right), "with s = ab + a = -4: dL/ds = 2s, then ds/da = b + 1 and ds/db = a")
    return "two ways lead back to a, and their gradients add"


@check
def check_largest_rate(answer: Any) -> str:
    """Above which rate plain descent diverges on f = 0.5 (x² + 50 y²)."""
    given = as_number(answer, "a rate")
    expect(given > 0, f"a rate is positive; got {given:g}")

    def grows(rate: float) -> bool:
        path = descend(SGD(rate), bowl_gradient(50.0), np.array([0.0, 1.0]), 50)
        return bool(abs(path[-1, 1]) > 1)

    expect(not near(given, 1 / 50), "at that rate y is 0 after one step; twice as long a step still does not diverge")
    expect(not grows(given * 0.999), f"at {given * 0.999:g}, below your answer, y grows already")
    expect(grows(given * 1.001), f"at {given * 1.001:g}, above your answer, y still shrinks")
    return "2 / κ: there y changes its sign in each step and nothing else"


@check
def check_adam_first(answer: Any) -> str:
    """The parameters after Adam's first step with rate 0.01 from (0, 0), gradient (1000, -0.001), to four decimals."""
    given = as_tensor(answer, "a pair of numbers")
    expect(given.shape == (2,), "there are two parameters")
    gradient = np.array([1000.0, -0.001])
    right = torch.from_numpy(Adam(0.01).step([np.zeros(2)], [gradient])[0])
    expect(not _close(given, torch.from_numpy(-0.01 * gradient)), "that is plain descent; Adam divides by the size")
    expect(not _close(given, -right), "downhill: against the sign of the gradient")
    expect(_close(given, right), "after one step m̂ = g and ŝ = g², so the step is the rate times g / |g|")
    return "a million times smaller, and the same step"


@check
def check_momentum(answer: Any) -> str:
    """Where momentum 0.5 with rate 0.1 stands after three steps from 0 under a gradient that is always 1."""
    given = as_number(answer, "one number")
    rule, place = Momentum(0.1, momentum=0.5), [np.array(0.0)]
    for _ in range(3):
        place = rule.step(place, [np.array(1.0)])
    expect(not near(given, -0.3), "that is without momentum; the velocity grows from step to step")
    expect(not near(given, -float(place[0])), "downhill: a positive gradient makes it smaller")
    expect(not near(given, -0.1 * (0.5 + 0.75 + 0.875)), "in this form v <- 0.5 v + g; the gradient is not halved")
    expect(near(given, float(place[0])), "the velocities are 1, 1.5 and 1.75; add them, times the rate")
    return "velocities 1, 1.5, 1.75, on the way to 2"


@check
def check_numeric_gradient(answer: Any) -> str:
    """A function of (f, x) that gives the gradient of f at x, an array of any shape, by central differences."""
    expect(callable(answer), f"the answer should be a function of (f, x); got {type(answer).__name__}")
    rng = np.random.default_rng(0)
    x, a = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    before = x.copy()

    def f(x: Array) -> float:
        return float((a * np.sin(x)).sum() + np.prod(x))

    given = _call(answer, f, x)
    expect(np.array_equal(x, before), "your function changes x; work on a copy, or set back what you changed")
    expect(given.shape == x.shape, f"the gradient has the shape of x, {x.shape}; got {given.shape}")
    right = a * np.cos(x) + np.prod(x) / x
    expect(not np.allclose(given, 2 * right, atol=1e-3), "divide by 2h: the two points are 2h apart")
    expect(not np.allclose(given, -right, atol=1e-3), "the sign: f(x + h) - f(x - h), in this order")
    expect(bool(np.allclose(given, right, atol=1e-2)), "move one entry by h up and down, and leave all others")
    expect(
        bool(np.allclose(given, right, rtol=0, atol=1e-7)),
        "near, but not near enough: differences to both sides, h = 1e-5",
    )
    return "two evaluations for each entry: slow, and a test of any back-propagation"


@check
def check_backward(answer: Any) -> str:
    """A function of (x, d, W, V) that gives dL/dW and dL/dV for L = ½ Σ (tanh(x W) V - d)²."""
    expect(callable(answer), f"the answer should be a function of (x, d, W, V); got {type(answer).__name__}")
    rng = np.random.default_rng(0)
    x, d, W, V = (rng.normal(size=shape) for shape in ((5, 3), (5, 2), (3, 4), (4, 2)))
    values = Value(W), Value(V)
    (((Value(x) @ values[0]).tanh() @ values[1] - d) ** 2 * 0.5).sum().backward()
    pair = _call_pair(answer, x, d, W, V)
    hidden = np.tanh(x @ W)
    error = hidden @ V - d
    wrong_w: list[tuple[Array, str]] = [
        (x.T @ (error @ V.T), "dL/dW: the slope of tanh, 1 - h², is missing"),
        (x.T @ (error @ V.T * hidden * (1 - hidden)), "h (1 - h) is the slope of the sigmoid; that of tanh is 1 - h²"),
        (values[0].grad / 5, "the loss is a sum over the examples, not a mean"),
    ]
    for (given, value), name in zip(zip(pair, values, strict=True), ("dL/dW", "dL/dV"), strict=True):
        expect(given.shape == value.data.shape, f"{name} has the shape {value.data.shape}; got {given.shape}")
    expect(bool(np.allclose(pair[1], values[1].grad)), "dL/dV = hᵀ (y - d), with h = tanh(x W) and y = h V")
    for value_w, hint in wrong_w:
        expect(not np.allclose(pair[0], value_w), hint)
    expect(bool(np.allclose(pair[0], values[0].grad)), "dL/dW = xᵀ [((y - d) Vᵀ) ∘ (1 - h²)]")
    return "back through V, through the slope of tanh, to x"


def _sigmoid(z: float) -> float:
    return float(sigmoid(np.array(z)))


def _close(given: torch.Tensor, right: torch.Tensor) -> bool:
    return given.shape == right.shape and torch.allclose(given.double(), right.double(), rtol=0, atol=HALF_A_DIGIT)


def _call(function: Callable[..., Any], *arguments: Any) -> Array:
    return _as_array(called(function, *arguments))


def _call_pair(function: Callable[..., Any], *arguments: Any) -> tuple[Array, Array]:
    given = called(function, *arguments)
    expect(
        isinstance(given, tuple | list) and len(given) == 2, "the function should return two arrays, dL/dW and dL/dV"
    )
    return _as_array(given[0]), _as_array(given[1])


def _as_array(given: Any) -> Array:
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise NotYet(f"the function should return numbers; got {type(given).__name__}") from None

"""Every check knows the right answer, the usual wrong ones, and the untouched stub; none of them raises."""

import inspect

import numpy as np
from answer_tests import make_tests

from companion.exercises import concepts as exercises

CHECKS = [f for name, f in inspect.getmembers(exercises, inspect.isfunction) if name.startswith("check_")]


def differences(f, x, h=1e-5, both=True, width=2.0):
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = h
        gradient[place] = (f(x + step) - f(x - step if both else x)) / (width * h)
    return gradient


def spoils(f, x):
    x += 1
    return x


def backward(x, d, W, V, slope=lambda h: 1 - h**2, share=1):
    h = np.tanh(x @ W)
    error = h @ V - d
    return x.T @ (error @ V.T * slope(h)) / share, h.T @ error


RIGHT = {
    "check_neuron": 0.5498,
    "check_dense_count": 2410,
    "check_convolution_count": 1216,
    "check_class_gradient": [0.0900, -0.7553, 0.6652],
    "check_twice": (16.0, -16.0),
    "check_largest_rate": 0.04,
    "check_adam_first": (-0.01, 0.01),
    "check_momentum": -0.425,
    "check_numeric_gradient": differences,
    "check_backward": backward,
}
WRONG = [
    ("check_neuron", 0.2, "now the sigmoid"),
    ("check_neuron", 0.5, "bias is missing"),
    ("check_neuron", 0.7685, "mind the sign"),
    ("check_neuron", 0.1, "add the products"),
    ("check_neuron", [1, 2], "one number"),
    ("check_dense_count", 2368, "a bias too"),
    ("check_dense_count", 2474, "inputs have no bias"),
    ("check_dense_count", 1, "64 weights and a bias"),
    ("check_convolution_count", 1200, "a bias too"),
    ("check_convolution_count", 416, "all 3 maps"),
    ("check_convolution_count", 16 * 32 * 32 * 76, "without sharing"),
    ("check_convolution_count", 1, "16 kernels"),
    ("check_class_gradient", [0.0900, 0.2447, 0.6652], "subtract 1"),
    ("check_class_gradient", [-0.0900, 0.7553, -0.6652], "other way round"),
    ("check_class_gradient", [0.0900, 0.2447, -0.3348], "not the third"),
    ("check_class_gradient", [0.0, 0.0, 0.0], "sum to 0"),
    ("check_class_gradient", [0.0], "three scores"),
    ("check_twice", (24.0, -16.0), "used twice"),
    ("check_twice", (-8.0, -16.0), "used twice"),
    ("check_twice", (-16.0, 16.0), "dL/da first"),
    ("check_twice", (1.0, 1.0), "2s"),
    ("check_twice", (1.0,), "two numbers"),
    ("check_largest_rate", 0.02, "after one step"),
    ("check_largest_rate", 0.1, "grows already"),
    ("check_largest_rate", 0.03, "still shrinks"),
    ("check_largest_rate", -1, "positive"),
    ("check_adam_first", (-10.0, 0.00001), "plain descent"),
    ("check_adam_first", (0.01, -0.01), "downhill"),
    ("check_adam_first", (0.0, 0.0), "the rate times"),
    ("check_adam_first", (0.0,), "two parameters"),
    ("check_momentum", -0.3, "without momentum"),
    ("check_momentum", 0.425, "downhill"),
    ("check_momentum", -0.2125, "not halved"),
    ("check_momentum", 1.0, "velocities are"),
    ("check_numeric_gradient", lambda f, x: differences(f, x, width=1.0), "2h apart"),
    ("check_numeric_gradient", lambda f, x: -differences(f, x), "the sign"),
    ("check_numeric_gradient", lambda f, x: differences(f, x, both=False, width=1.0), "not near enough"),
    ("check_numeric_gradient", lambda f, x: np.zeros_like(x), "leave all others"),
    ("check_numeric_gradient", lambda f, x: 0.0, "shape of x"),
    ("check_numeric_gradient", lambda f, x: "text", "should return numbers"),
    ("check_numeric_gradient", spoils, "changes x"),
    ("check_numeric_gradient", lambda: 0, "raised TypeError"),
    ("check_backward", lambda *a: backward(*a, slope=lambda h: 1), "is missing"),
    ("check_backward", lambda *a: backward(*a, slope=lambda h: h * (1 - h)), "slope of the sigmoid"),
    ("check_backward", lambda *a: backward(*a, share=5), "not a mean"),
    ("check_backward", lambda *a: backward(*a, share=7), "dL/dW = xᵀ"),
    ("check_backward", lambda x, d, W, V: (np.zeros_like(W), np.zeros_like(V)), "dL/dV = hᵀ"),
    ("check_backward", lambda x, d, W, V: (W.T, V), "dL/dW has the shape"),
    ("check_backward", lambda *a: 1, "two arrays"),
    ("check_backward", 3, "a function"),
]


(
    test_every_check_is_tested,
    test_the_right_answer_and_the_stub,
    test_a_wrong_answer_gets_its_hint,
    test_the_default_dtype_of_the_notebook_does_not_matter,
) = make_tests(CHECKS, RIGHT, WRONG)

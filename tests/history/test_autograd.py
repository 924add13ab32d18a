"""The small autograd against torch.autograd on graphs made by chance, and its drawings."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.history.autograd import Value, topological_order
from companion.history.graph import graph, mermaid, table

SHAPES = [(), (1,), (4,), (3, 1), (1, 4), (3, 4), (2, 1, 4), (2, 3, 1)]  # every pair broadcasts
UNARY = ["exp", "log", "tanh", "sigmoid", "relu", "neg", "square", "root", "sum", "sum0"]
BINARY = ["+", "-", "*", "/"]


def apply(name, x):
    """One operation on a Value or on a tensor, kept in a range where all of them are smooth and small."""
    squashed = x.tanh() if name in ("exp", "log", "root") else x
    match name:
        case "exp":
            return squashed.exp()
        case "log":
            return (squashed + 2.5).log()
        case "root":
            return (squashed + 2.5) ** 0.5
        case "square":
            return x**2
        case "neg":
            return -x
        case "sum":
            return x.sum() * 0.1
        case "sum0":
            shape = x.data.shape
            if not shape:
                return 1.0 - x
            return x.sum(0) if isinstance(x, Value) else x.sum(0, keepdim=True)
        case _:
            return getattr(x, name)()


def combine(name, a, b):
    if name == "+":
        return a + b
    if name == "-":
        return a - b
    return a * b if name == "*" else a / (b.tanh() + 2.5)


operation = st.one_of(
    st.tuples(st.sampled_from(UNARY), st.integers(0, 99), st.just(0)),
    st.tuples(st.sampled_from(BINARY), st.integers(0, 99), st.integers(0, 99)),
)


@settings(max_examples=60)
@given(
    st.integers(0, 10_000), st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4), st.lists(operation, max_size=12)
)
def test_any_graph_has_the_gradients_of_torch(seed, shapes, program):
    """Operations picked by chance on values picked by chance, so a value is often used more than once."""
    generator = np.random.default_rng(seed)
    arrays = [generator.uniform(-1, 1, size=shape) for shape in shapes]
    ours, theirs = [Value(a) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    for name, i, j in program:
        for values in (ours, theirs):
            a, b = values[i % len(values)], values[j % len(values)]
            result = apply(name, a) if name in UNARY else combine(name, a, b)
            values.append(result.tanh())
    loss, judge = sum(v.sum() for v in ours), sum(t.sum() for t in theirs)
    loss.backward()
    judge.backward()
    assert float(loss.data) == pytest.approx(judge.item(), abs=1e-11)
    for value, tensor in zip(ours[: len(arrays)], theirs, strict=False):
        assert value.grad.shape == value.data.shape
        np.testing.assert_allclose(value.grad, tensor.grad.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("a", "b"), [((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((5, 1, 2, 3), (6, 3, 4))]
)
def test_matrix_products_with_any_axes_in_front(a, b):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=a), generator.normal(size=b)
    ours, theirs = (Value(x), Value(y)), (torch.tensor(x, requires_grad=True), torch.tensor(y, requires_grad=True))
    ((ours[0] @ ours[1]).tanh()).sum().backward()
    ((theirs[0] @ theirs[1]).tanh()).sum().backward()
    for value, tensor in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(value.grad, tensor.grad.numpy(), atol=1e-12)


def test_a_classifier_with_picked_scores_has_the_gradients_of_torch():
    generator = np.random.default_rng(0)
    x, w, b = generator.normal(size=(7, 5)), generator.normal(size=(5, 3)), generator.normal(size=3)
    labels, rows = np.array([0, 2, 1, 1, 0, 2, 2]), np.arange(7)
    weights, bias = Value(w), Value(b)
    scores = x @ weights + bias  # an array on the left is left to Value
    loss = (scores.exp().sum(axis=1).log().sum() - scores[rows, labels].sum()) / 7
    loss.backward()
    tensors = [torch.tensor(a, requires_grad=True) for a in (w, b)]
    judge = torch.nn.functional.cross_entropy(torch.tensor(x) @ tensors[0] + tensors[1], torch.tensor(labels))
    judge.backward()
    assert float(loss.data) == pytest.approx(judge.item(), abs=1e-12)
    np.testing.assert_allclose(weights.grad, tensors[0].grad.numpy(), atol=1e-12)
    np.testing.assert_allclose(bias.grad, tensors[1].grad.numpy(), atol=1e-12)


def test_a_number_that_is_picked_twice_gets_both_gradients():
    x = Value([1.0, 2.0, 3.0])
    (x[[0, 0, 2]] * Value([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [11.0, 0.0, 100.0]


def test_numbers_stand_on_either_side():
    x = Value(4.0)
    for result, value, slope in ((3 - x, -1, -1), (3 + x, 7, 1), (3 * x, 12, 3), (8 / x, 2, -0.5), (x / 8, 0.5, 0.125)):
        result.backward()
        assert (float(result.data), float(x.grad)) == (value, slope)


def test_a_second_way_back_starts_anew():
    x = Value(3.0)
    y = x * x
    y.backward()
    y.backward()
    assert float(x.grad) == 6.0


def test_a_long_chain_does_not_exhaust_the_stack():
    x = Value(1.0)
    y = x
    for _ in range(2000):
        y = y + 0.0
    y.backward()
    assert float(x.grad) == 1.0 and len(topological_order(y)) == 4001


def test_parents_come_first():
    a, b = Value(1.0), Value(2.0)
    c = a * b
    root = (c + a).tanh() * c
    order = topological_order(root)
    place = {id(v): i for i, v in enumerate(order)}
    assert order[-1] is root and len(place) == len(order) == 6
    assert all(place[id(parent)] < place[id(v)] for v in order for parent in v.parents)


def gradient_lab() -> Value:
    x, w, b, t = Value(2.0, "x"), Value(-1.0, "w"), Value(1.0, "b"), Value(1.0, "t")
    loss = ((w * x + b).sigmoid() - t) ** 2
    loss.backward()
    return loss


def test_the_graph_of_the_gradient_lab():
    nodes, edges = graph(gradient_lab())
    assert [node.label for node in nodes] == ["w", "x", "×", "b", "+", "σ", "t", "−", "^2"]
    assert edges == [(0, 2), (1, 2), (2, 4), (3, 4), (4, 5), (5, 7), (6, 7), (7, 8)]
    found = {node.label: round(float(node.value.grad), 4) for node in nodes}
    assert (found["w"], found["b"], found["x"]) == (-0.5749, -0.2875, 0.2875)
    assert round(float(nodes[-1].value.data), 4) == 0.5344


def test_the_drawings_have_every_node_and_every_edge():
    text, lines = mermaid(gradient_lab()), table(gradient_lab()).splitlines()
    assert text.count(" --> ") == 8 and len(lines) == 9
    assert 'n8(("^2<br/>value 0.5344<br/>grad 1"))' in text and 'n0["w<br/>value -1<br/>grad -0.5749"]' in text
    assert lines[0].split() == ["0", "w", "value", "-1", "grad", "-0.5749"]
    assert "value 2×3" in table(Value(np.ones((2, 3)), "X"))


def test_what_has_no_gradient_is_refused():
    with pytest.raises(ValueError, match="sum\\(\\) it first"):
        Value([1.0, 2.0]).backward()
    with pytest.raises(ValueError, match="multiplies matrices"):
        Value([1.0, 2.0]) @ Value([1.0, 2.0])

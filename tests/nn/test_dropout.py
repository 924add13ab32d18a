"""Dropout on the fast path is dropout: right share, right scale, right gradient, from torch's generator."""

import pytest
import torch

from companion.nn.dropout import Dropout, dropout
from companion.runtime import fast, set_fast

N = 200_003  # odd: the four-at-a-time draws must cover the rest


@pytest.fixture(params=[True, False], ids=["fast", "torch"])
def either_path(request):
    before = fast()
    set_fast(request.param)
    yield
    set_fast(before)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.usefixtures("either_path")
def test_share_scale_and_gradient(p):
    torch.manual_seed(0)
    x = torch.ones(N, dtype=torch.float64, requires_grad=True)
    y = dropout(x, p)
    kept = y > 0
    assert abs(kept.double().mean() - (1 - p)) < 5 * (p * (1 - p) / N) ** 0.5 + 1e-5
    torch.testing.assert_close(y[kept], torch.full_like(y[kept], 1 / (1 - p)), rtol=2e-4, atol=0)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())  # d(x * m)/dx = m, and x = 1


def test_entries_are_dropped_independently():
    torch.manual_seed(0)
    kept = (dropout(torch.ones(N - 3), 0.3) > 0).double() - 0.7
    for lag in (1, 2, 3, 4, 5, 8):  # four neighbors share one draw
        assert abs((kept[lag:] * kept[:-lag]).mean()) < 5 * 0.21 / N**0.5


@pytest.mark.usefixtures("either_path")
def test_the_seed_decides():
    x = torch.ones(1000)
    outcomes = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        outcomes.append(dropout(x, 0.5))
    assert torch.equal(outcomes[0], outcomes[1]) and not torch.equal(outcomes[0], outcomes[2])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 3, 0)], ids=str)
def test_keeps_shape_and_dtype(dtype, shape):
    y = dropout(torch.ones(shape, dtype=dtype), 0.5)
    assert y.shape == shape and y.dtype == dtype


def test_the_input_is_not_edited():
    x = torch.ones(100)
    dropout(x, 0.5)
    assert torch.equal(x, torch.ones(100))


def test_module_drops_in_training_only():
    layer, x = Dropout(0.5), torch.ones(100)
    assert not torch.equal(layer(x), x)
    assert layer.eval()(x) is x and Dropout(0.0)(x) is x
    assert repr(layer) == "Dropout(p=0.5)"


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5])
def test_p_must_leave_something(p):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        Dropout(p)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        dropout(torch.ones(3), p)

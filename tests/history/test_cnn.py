"""The convolution and its gradients against PyTorch, and real digits."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from companion.history.cnn import (
    LeNet,
    convolve,
    convolve_back,
    convolve_by_hand,
    halve,
    kernel_gradients,
    parameter_counts,
    train_lenet,
)
from companion.history.digits import accuracy, load_digits

B, I, O, Y, X = 2, 3, 4, 7, 6


@pytest.mark.parametrize(("K", "L"), [(3, 3), (2, 4), (1, 1), (7, 6)])
def test_three_convolutions_agree_and_so_do_their_gradients(K, L):
    generator = np.random.default_rng(0)
    x, kernel, bias = generator.normal(size=(B, I, Y, X)), generator.normal(size=(O, I, K, L)), generator.normal(size=O)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, kernel, bias)]
    judge = F.conv2d(*tensors)
    out = convolve(x, kernel, bias)
    assert out.shape == (B, O, Y - K + 1, X - L + 1)
    np.testing.assert_allclose(out, judge.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(convolve_by_hand(x[1], kernel, bias), out[1], atol=1e-12)
    upstream = generator.normal(size=out.shape)
    judge.backward(torch.tensor(upstream))
    found = (convolve_back(kernel, upstream), *kernel_gradients(x, upstream))
    for gradient, tensor in zip(found, tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), atol=1e-12)


def test_halving_is_average_pooling():
    x = np.random.default_rng(0).normal(size=(B, I, 6, 4))
    np.testing.assert_allclose(halve(x), F.avg_pool2d(torch.tensor(x), 2).numpy(), atol=1e-15)


def test_the_gradients_of_the_net_are_those_of_autograd():
    generator = np.random.default_rng(1)
    net = LeNet(maps=(3, 5), n_classes=7, generator=generator)
    x, labels = generator.random((B + 2, 64)), generator.integers(0, 7, size=B + 2)
    p = {name: torch.tensor(a, requires_grad=True) for name, a in net.parameters.items()}
    y = F.conv2d(torch.tensor(x).view(-1, 1, 8, 8), p["conv1.weight"], p["conv1.bias"], padding=1).tanh()
    y = F.conv2d(F.avg_pool2d(y, 2), p["conv2.weight"], p["conv2.bias"]).tanh()
    loss = F.cross_entropy(y.flatten(1) @ p["out.weight"] + p["out.bias"], torch.tensor(labels))
    loss.backward()
    assert net.loss(x, labels) == pytest.approx(loss.item(), abs=1e-12)
    found = net.gradients(x, labels)
    assert found.keys() == p.keys()
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, p[name].grad.numpy(), atol=1e-12, err_msg=name)


def test_the_counts_are_those_of_the_layers():
    counts = parameter_counts(1, 8, 3, (8, 8), (8, 8))
    net = LeNet(generator=np.random.default_rng(0)).parameters
    assert counts["shared"] == net["conv1.weight"].size + net["conv1.bias"].size
    dense = torch.nn.Linear(64, 8 * 64)
    assert counts["dense"] == sum(p.numel() for p in dense.parameters())
    assert counts["local"] == 64 * counts["shared"]
    assert sum(p.size for p in net.values()) == 80 + 24 * (8 * 9 + 1) + 10 * 97


@pytest.mark.parametrize("seed", range(5))
def test_real_digits(seed):
    digits, generator = load_digits(seed=seed), np.random.default_rng(seed)
    net = LeNet(maps=(6, 16), generator=generator)
    train_lenet(net, digits.train_x, digits.train_y, epochs=4, generator=generator)
    assert accuracy(net.forward(digits.test_x)["scores"], digits.test_y) >= 0.93


def test_maps_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="the same I"):
        convolve(np.ones((1, 2, 4, 4)), np.ones((3, 1, 3, 3)), np.zeros(3))

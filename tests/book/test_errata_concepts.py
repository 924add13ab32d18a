"""The errors of the source about the basic terms, shown without companion.errata's own computations."""

import math
from copy import deepcopy

import pytest
import torch
from torch.nn import functional as F

from companion import GPT, TransformerConfig


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(TransformerConfig(vocab_size=11, d_model=16, n_heads=2, max_len=16, dropout=0.0)).double()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_examples_in_the_prompt_change_the_answer_and_no_weight(model: GPT) -> None:
    before = deepcopy(model.state_dict())
    task, example = torch.tensor([[7, 8]]), torch.tensor([[1, 2, 3]])
    answers = [model(torch.cat([example] * n + [task], dim=1))[0, -1] for n in (0, 1, 3)]
    assert not torch.allclose(answers[0], answers[1]) and not torch.allclose(answers[0], answers[2])
    assert same(before, model.state_dict())


@pytest.mark.parametrize("n_examples", [1, 50])
def test_fine_tuning_changes_weights_whatever_the_number_of_examples(model: GPT, n_examples: int) -> None:
    before = deepcopy(model.state_dict())
    ids = torch.randint(0, 11, (n_examples, 6), generator=torch.Generator().manual_seed(1))
    torch.autograd.backward(F.cross_entropy(model(ids)[:, -1], ids[:, 0]))
    torch.optim.AdamW(model.parameters(), lr=1e-3).step()
    assert not same(before, model.state_dict())


def test_back_propagation_moves_nothing_and_each_optimizer_moves_its_own_way() -> None:
    x, w, b, t, rate = 2.0, -1.0, 1.0, 1.0, 0.5
    y = 1 / (1 + math.exp(-(w * x + b)))
    gradient = 2 * (y - t) * y * (1 - y) * x
    weight = torch.tensor(w, dtype=torch.float64, requires_grad=True)
    torch.autograd.backward((torch.sigmoid(weight * x + b) - t) ** 2)
    assert weight.item() == w
    assert weight.grad is not None and weight.grad.item() == pytest.approx(gradient)
    torch.optim.SGD([weight], lr=rate).step()
    assert weight.item() == pytest.approx(w - rate * gradient)
    adam = torch.tensor(w, dtype=torch.float64, requires_grad=True)
    adam.grad = torch.tensor(gradient, dtype=torch.float64)
    torch.optim.Adam([adam], lr=rate).step()
    assert adam.item() == pytest.approx(w + rate, abs=1e-6)  # the first step of Adam has the size of the rate, downhill

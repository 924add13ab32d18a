"""The errors of the source about fine-tuning and its listing, shown without companion.errata's own computations."""

import itertools
import math

import pytest
import torch
from torch import nn

from companion.experiments.listing import MendedTransformer, Transformer

SIZES = {"vocab_size": 11, "d_model": 8, "nhead": 2, "num_layers": 1, "num_classes": 2}


@pytest.fixture
def printed() -> Transformer:
    torch.manual_seed(0)
    return Transformer(**SIZES).double().eval()


@pytest.fixture
def mended() -> MendedTransformer:
    torch.manual_seed(0)
    return MendedTransformer(**SIZES).double().eval()


def test_the_gradient_of_a_sum_grows_with_the_batch() -> None:
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.5]], dtype=torch.float64)
    for reduction, ratio in (("sum", 2.0), ("mean", 1.0)):
        gradients = []
        for copies in (1, 2):
            shift = torch.zeros(2, dtype=torch.float64, requires_grad=True)
            rows, labels = logits.repeat(copies, 1) + shift, torch.tensor([0, 1] * copies)
            nn.functional.cross_entropy(rows, labels, reduction=reduction).backward()
            gradients.append(shift.grad)
        torch.testing.assert_close(gradients[1], ratio * gradients[0])


def test_the_training_loss_falls_on_while_the_held_out_loss_rises() -> None:
    w, training, held_out = 0.0, [], []
    for _ in range(1000):
        w += 1 / (1 + math.exp(w))
        yes, no = math.log1p(math.exp(-w)), math.log1p(math.exp(w))
        training.append(yes)
        held_out.append(0.75 * yes + 0.25 * no)
    assert all(a > b for a, b in itertools.pairwise(training))
    best = held_out.index(min(held_out))
    assert best < 5 and held_out[-1] > 3 * held_out[best]


def test_the_listing_loads_no_weights_and_is_wide() -> None:
    torch.manual_seed(1)
    one = Transformer(**SIZES)
    torch.manual_seed(2)
    other = Transformer(**SIZES)
    assert not torch.equal(one.embedding.weight, other.embedding.weight)
    assert one.transformer_encoder.layers[0].linear1.out_features == 2048


def test_the_listing_needs_math_and_a_bracket() -> None:
    with pytest.raises(SyntaxError, match="never closed"):
        compile("pe[:, 1::2] = torch.cos(position * div_term", "listing", "exec")
    with pytest.raises(NameError, match="math"):
        eval("-math.log(10000.0)", {"torch": torch})


def test_a_prediction_changes_with_its_neighbors(printed: Transformer, mended: MendedTransformer) -> None:
    ids = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    other = ids.clone()
    other[1:] = torch.tensor([[9, 9, 1], [2, 2, 2]])
    real = torch.ones_like(ids).bool()
    with torch.no_grad():
        assert (printed(ids)[0] - printed(other)[0]).abs().max() > 1e-3
        torch.testing.assert_close(mended(ids, real)[0], mended(other, real)[0])


def test_a_prediction_changes_with_its_padding(printed: Transformer, mended: MendedTransformer) -> None:
    short = torch.tensor([[1, 2, 3]])
    long = torch.tensor([[1, 2, 3, 0, 0, 0, 0]])
    with torch.no_grad():
        assert (printed(short) - printed(long)).abs().max() > 1e-3
        torch.testing.assert_close(mended(short, short != 0), mended(long, long != 0))

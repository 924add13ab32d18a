"""Masks refuse what they cannot mean."""

import pytest
import torch

from companion import causal_mask, length_mask


@pytest.mark.parametrize(
    ("lengths", "max_len", "message"),
    [
        (torch.tensor([3.0]), None, r"integers; got torch.float32; convert with lengths.long\(\)"),
        (torch.tensor([True]), None, "integers; got torch.bool"),
        (torch.tensor([[3]]), None, r"shape \(B,\).*got \(1, 1\)"),
        (torch.tensor([3, -1]), None, r"not be negative; got \[3, -1\]"),
        (torch.tensor([3, 9]), 5, "a sequence has 9 tokens, but max_len=5; raise max_len or truncate"),
    ],
)
def test_length_mask_refuses(lengths, max_len, message):
    with pytest.raises(ValueError, match=message):
        length_mask(lengths, max_len)


@pytest.mark.parametrize(("T", "S"), [(0, 3), (3, 0), (-1, 1)])
def test_causal_mask_refuses_an_empty_axis(T, S):
    with pytest.raises(ValueError, match="at least one query and one key"):
        causal_mask(T, S)


def test_a_square_causal_mask_is_the_default():
    assert torch.equal(causal_mask(4), causal_mask(4, 4))

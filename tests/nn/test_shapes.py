"""Every shape comment in companion/nn is true, and every one was seen."""

from pathlib import Path

import torch
from shape_comments import ShapeComments

import companion
from companion import MultiHeadAttention, attention, attention_weights, causal_mask

FOLDER = Path(companion.__file__).parent / "nn"


def run_attention() -> None:
    q, k, v = torch.zeros(2, 3, 5, 4), torch.zeros(2, 3, 7, 4), torch.zeros(2, 3, 7, 6)
    attention(q, k, v, mask=causal_mask(5, 7), backend="formula")
    attention(q, k, v, causal=True, backend="fused")
    attention_weights(q, k, causal=True)
    MultiHeadAttention(12, 3)(torch.zeros(2, 5, 12), torch.zeros(2, 7, 12))


def test_every_shape_comment_is_true():
    with ShapeComments(FOLDER) as comments:
        run_attention()
    assert comments.errors == []
    assert comments.unvisited == []

"""Every shape comment in companion/nn and companion/models is true, and every one was seen."""

from pathlib import Path

import torch
from shape_comments import ShapeComments

import companion
from companion import BERT, GPT, TransformerClassifier, TransformerConfig, attention, attention_weights, causal_mask
from companion.models.numpy_classifier import load_numpy_classifier
from companion.models.saliency import (
    attention_rollout,
    gradient_x_input,
    integrated_gradients,
    leave_one_out,
    score_subsets,
)
from companion.nn.attention import MultiHeadAttention
from companion.nn.lora import LoRALinear
from companion.nn.losses import chunked_cross_entropy

PACKAGE = Path(companion.__file__).parent
B, T, V = 2, 5, 11
IDS = torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(0))


def run_attention() -> None:
    q, k, v = torch.zeros(2, 3, 5, 4), torch.zeros(2, 3, 7, 4), torch.zeros(2, 3, 7, 6)
    attention(q, k, v, mask=causal_mask(5, 7), backend="formula")
    attention(q, k, v, causal=True, backend="fused")
    attention_weights(q, k, causal=True)
    MultiHeadAttention(12, 3)(torch.zeros(2, 5, 12), torch.zeros(2, 7, 12))
    MultiHeadAttention(12, 3)(torch.zeros(2, 25, 12))  # enough tokens for one product of q, k and v


def run_adapter() -> None:
    layer = LoRALinear(torch.nn.Linear(6, 7), rank=3)
    layer(torch.zeros(2, 5, 6))
    layer.merged()


def run_models() -> None:
    padding = torch.ones(B, T, dtype=torch.bool)
    for position in ("sinusoidal", "learned", "rope", "alibi", "none"):
        for norm in ("pre", "post"):
            config = TransformerConfig(
                vocab_size=V, d_model=12, n_heads=3, d_ff=20, max_len=9, norm=norm, position=position, n_segments=2
            )
            BERT(config)(IDS, segments=torch.zeros_like(IDS), padding=padding)
            GPT(config)(IDS)
            TransformerClassifier(config, 4)(IDS, padding=padding)
    chunked_cross_entropy(torch.zeros(B, T, 12), IDS, torch.nn.Linear(12, V))


def run_saliency() -> None:
    words = torch.tensor([-1, 0, 1, 1, -1])  # two words, one of them in two pieces, between [CLS] and [SEP]
    x, baseline = torch.ones(5, 4), torch.zeros(5, 4)
    for method in (leave_one_out, gradient_x_input, integrated_gradients, score_subsets):
        method(lambda x: x.sum((1, 2)).tanh(), x, baseline, words=words)
    attention_rollout(torch.full((2, 3, 5, 5), 1 / 5))


def run_numpy() -> None:
    classifier = load_numpy_classifier("imdb-classifier")
    assert classifier is not None
    classifier.logits(["A good film."])


def test_every_shape_comment_is_true():
    for folder, runs in (
        ("nn", (run_attention, run_adapter, run_models)),
        ("models", (run_models, run_saliency, run_numpy)),
    ):
        with ShapeComments(PACKAGE / folder) as comments:
            for run in runs:
                run()
        assert comments.errors == []
        assert comments.unvisited == []
        assert comments.visited

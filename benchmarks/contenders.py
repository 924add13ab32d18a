"""The models that are compared, each as its users build it, with random weights and of the same shape."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from companion import GPT, TransformerClassifier, TransformerConfig

KEPT = ", memory kept"
"""Ends the name of a contender whose process keeps freed memory, see :func:`companion.runtime.keep_memory`."""


@dataclass(frozen=True)
class Shape:
    """The work of one step."""

    batch: int
    length: int
    d_model: int = 256
    n_layers: int = 4
    n_heads: int = 4
    vocab_size: int = 8192
    dropout: float = 0.0

    @property
    def d_ff(self) -> int:
        """Width inside the feed-forward net."""
        return 4 * self.d_model

    def ids(self) -> Tensor:
        """(B, T) random tokens, the same for everybody."""
        return torch.randint(0, self.vocab_size, (self.batch, self.length), generator=torch.Generator().manual_seed(0))

    def product_flops(self, *, train: bool, vocab_head: bool) -> float:
        """Floating-point operations of the matrix products of one step; the backward pass costs twice the forward."""
        tokens = self.batch * self.length
        block = 2 * tokens * (4 * self.d_model**2 + 2 * self.d_model * self.d_ff)
        block += 4 * self.batch * self.length**2 * self.d_model
        head = 2 * tokens * self.d_model * self.vocab_size if vocab_head else 0
        return float((self.n_layers * block + head) * (3 if train else 1))


def to_config(shape: Shape) -> TransformerConfig:
    """The shape as companion's models want it."""
    return TransformerConfig(
        vocab_size=shape.vocab_size,
        max_len=max(512, shape.length),
        d_model=shape.d_model,
        n_layers=shape.n_layers,
        n_heads=shape.n_heads,
        d_ff=shape.d_ff,
        dropout=shape.dropout,
        position="learned",
    )


class _TorchStack(nn.Module):
    """Token and position embeddings under PyTorch's own encoder."""

    def __init__(self, shape: Shape, *, norm_first: bool, nested: bool = False) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            shape.d_model,
            shape.n_heads,
            shape.d_ff,
            shape.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=norm_first,
        )
        norm = nn.LayerNorm(shape.d_model) if norm_first else None
        self.token = nn.Embedding(shape.vocab_size, shape.d_model)
        self.position = nn.Embedding(max(512, shape.length), shape.d_model)
        self.encoder = nn.TransformerEncoder(layer, shape.n_layers, norm=norm, enable_nested_tensor=nested)

    def embed(self, ids: Tensor) -> Tensor:
        """(B, T, D)."""
        return self.token(ids) + self.position.weight[: ids.size(1)]


class NNEncoder(_TorchStack):
    """What most tutorials build: ``nn.TransformerEncoder`` under a mean and a linear layer."""

    def __init__(self, shape: Shape, *, norm_first: bool = False, nested: bool = False) -> None:
        super().__init__(shape, norm_first=norm_first, nested=nested)
        self.head = nn.Linear(shape.d_model, 2)

    def forward(self, ids: Tensor, padding: Tensor | None = None) -> Tensor:
        """Logits (B, 2); padding True = real token."""
        if padding is None:
            return self.head(self.encoder(self.embed(ids)).mean(dim=1))
        h = self.encoder(self.embed(ids), src_key_padding_mask=~padding)
        real = padding[:, :, None]
        return self.head((h * real).sum(dim=1) / real.sum(dim=1))


class PlainGPT(_TorchStack):
    """A causal model from PyTorch's own parts, with the causal kernel: what a careful user would write and compile."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, norm_first=True)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(shape.length), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (B, T, V), with the embedding's weights as head."""
        return F.linear(self.encoder(self.embed(ids), mask=self.mask, is_causal=True), self.token.weight)


def _hf_bert(shape: Shape, attention: str, task: str = "SequenceClassification") -> nn.Module:
    import transformers

    config = transformers.BertConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.d_model,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        intermediate_size=shape.d_ff,
        hidden_dropout_prob=shape.dropout,
        attention_probs_dropout_prob=shape.dropout,
        max_position_embeddings=max(512, shape.length),
        attn_implementation=attention,
    )
    return getattr(transformers, f"BertFor{task}")(config)


def hf_masked(shape: Shape, attention: str) -> nn.Module:
    """Hugging Face's BERT with its head over the vocabulary."""
    return _hf_bert(shape, attention, "MaskedLM")


def _hf_gpt2(shape: Shape, attention: str) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=shape.vocab_size,
            n_positions=max(512, shape.length),
            n_embd=shape.d_model,
            n_layer=shape.n_layers,
            n_head=shape.n_heads,
            resid_pdrop=shape.dropout,
            embd_pdrop=shape.dropout,
            attn_pdrop=shape.dropout,
            use_cache=False,
            attn_implementation=attention,
        )
    )


ENCODERS: dict[str, Callable[[Shape], nn.Module]] = {
    "companion": lambda s: TransformerClassifier(to_config(s), 2),
    "HF BERT, eager": lambda s: _hf_bert(s, "eager"),
    "HF BERT, sdpa": lambda s: _hf_bert(s, "sdpa"),
    "nn.TransformerEncoder, post": NNEncoder,
    "nn.TransformerEncoder, pre": lambda s: NNEncoder(s, norm_first=True),
    "nn.TransformerEncoder, nested": lambda s: NNEncoder(s, nested=True),
}

CAUSAL: dict[str, Callable[[Shape], nn.Module]] = {
    "companion": lambda s: GPT(to_config(s)),
    "HF GPT-2, eager": lambda s: _hf_gpt2(s, "eager"),
    "HF GPT-2, sdpa": lambda s: _hf_gpt2(s, "sdpa"),
    "plain GPT": PlainGPT,
    "plain GPT, compiled": lambda s: torch.compile(PlainGPT(s)),
}

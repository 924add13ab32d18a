"""companion: the code of the book Large Models from Scratch, importable.

The names below are the public ones; each module's docstrings give formulas, shapes and sources.
"""

from companion.config import TransformerConfig
from companion.nn.attention import (
    MultiHeadAttention,
    attention,
    attention_weights,
    causal_mask,
    length_mask,
    record_attention,
)

__all__ = [
    "MultiHeadAttention",
    "TransformerConfig",
    "attention",
    "attention_weights",
    "causal_mask",
    "length_mask",
    "record_attention",
]

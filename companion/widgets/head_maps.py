r"""The attention maps of a model's heads, and what made one of their cells.

Letters in the shapes: L layers, H heads, T tokens, Dh width of a head.
"""

import base64
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from companion.errors import require
from companion.models.bert import BERT
from companion.nn.attention import record_attention
from companion.nn.transformer import TransformerBlock

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LEVELS = 255  # a weight is kept as a whole number of 255ths


class Term(NamedTuple):
    """One summand of a score: coordinate, query, key, and ``query * key / √d_head``."""

    coordinate: int
    query: float
    key: float
    product: float


@torch.no_grad()
def head_maps(model: BERT, ids: Tensor) -> Tensor:
    """The attention weights of all heads for one text: ids (1, T) to (L, H, T, T)."""
    with record_attention(model) as maps:
        model.eval().encode(ids)
    return torch.stack(maps)[:, 0]


def maps_data(model: BERT, tokenizer: "Tokenizer", sentences: Sequence[str]) -> dict[str, Any]:
    """What the head explorer shows: the maps of each sentence, in 255ths; the error is at most 1/510."""
    require(bool(sentences), "there must be a sentence at least")
    rows = []
    for text in sentences:
        encoded = tokenizer.encode(text)
        maps = head_maps(model, torch.tensor([encoded.ids]))
        levels = (maps.double() * LEVELS).round().to(torch.uint8).numpy()
        rows.append({"tokens": encoded.tokens, "maps": base64.b64encode(levels.tobytes()).decode()})
    return {"layers": model.config.n_layers, "heads": model.config.n_heads, "sentences": rows}


def unpack_maps(data: dict[str, Any], sentence: int) -> Tensor:
    """The maps of one sentence, (L, H, T, T), float64, as the page shows them."""
    row = data["sentences"][sentence]
    T = len(row["tokens"])
    levels = np.frombuffer(base64.b64decode(row["maps"]), dtype=np.uint8).astype(np.float64)
    return torch.from_numpy(levels).view(data["layers"], data["heads"], T, T) / LEVELS


@torch.no_grad()
def score_terms(model: BERT, ids: Tensor, *, layer: int, head: int, query: int, key: int, n: int = 10) -> list[Term]:
    """The n largest summands of one score: ``q·k / √d_head = Σ q_d k_d / √d_head``, positions applied.

    Args:
        model: whose head is asked.
        ids: one text, (1, T).
        layer: from 0.
        head: from 0.
        query: the place of the token that looks.
        key: the place of the token that is looked at.
        n: how many summands, the largest by absolute value first.
    """
    config, T = model.config, ids.size(1)
    for name, value, end in (
        ("layer", layer, config.n_layers),
        ("head", head, config.n_heads),
        ("query", query, T),
        ("key", key, T),
    ):
        require(0 <= value < end, f"{name}={value} must be from 0 to {end - 1}")
    block = model.transformer.blocks[layer]
    assert isinstance(block, TransformerBlock)
    attention = block.attention
    seen: list[Tensor] = []
    hook = attention.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        model.eval().encode(ids)
    finally:
        hook.remove()
    shape = (1, T, config.n_heads, config.d_head)
    q, k = (project(seen[0]).view(shape).transpose(1, 2) for project in (attention.q_proj, attention.k_proj))
    q, k = model.transformer.embedding.position.rotate(q, k)  # (1, H, T, Dh)
    a, b = q[0, head, query], k[0, head, key]
    products = a * b / math.sqrt(config.d_head)
    largest = products.abs().argsort(descending=True)[:n].tolist()
    return [Term(d, float(a[d]), float(b[d]), float(products[d])) for d in largest]

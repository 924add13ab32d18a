r"""The forward pass of a classifier in NumPy alone.

Importing PyTorch takes seconds, one short text some milliseconds: ``companion predict`` answers with this. It knows the
one shape that the book trains: pre-norm, rotary positions, GELU. The results are those of
:class:`companion.models.classifier.TransformerClassifier`, up to rounding.

Letters in the shapes: T tokens, D d_model, H heads, Dh = D / H, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from companion.config import Pairing, TransformerConfig
from companion.data.passages import passages
from companion.data.tokenizer import encode_texts, special_ids
from companion.models.prediction import Prediction, predictions
from companion.models.pretrained_files import (
    CLASSIFIER,
    WEIGHTS,
    find_pretrained,
    pretrained_config,
    pretrained_settings,
    pretrained_tokenizer,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Array = NDArray[np.float32]
SHAPE = {"norm": "pre", "position": "rope", "activation": "gelu", "bias": True}
"""What it knows, as fields of :class:`companion.TransformerConfig`."""
_erf = np.vectorize(math.erf, otypes=[np.float32])


@dataclass(frozen=True)
class NumpyClassifier:
    """From texts to classes, like :class:`companion.TextClassifier`.

    Attributes:
        config: the shape.
        weights: by the names that the network's state has.
        tokenizer: what cuts a text into pieces.
        how: ``labels``, ``pooling``, ``max_len``, ``keep`` and ``temperature`` of the classifier.

    >>> classifier = load_numpy_classifier("imdb-classifier")
    >>> [said.label for said in classifier.predict(["A wonderful film.", "A waste of time."])]
    ['pos', 'neg']
    """

    config: TransformerConfig
    weights: Mapping[str, Array]
    tokenizer: Tokenizer
    how: Mapping[str, Any]

    def logits(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Logits (N, C) of N texts, averaged over windows where there are several."""
        special = special_ids(self.tokenizer)
        max_len, keep = self.how["max_len"], self.how["keep"]
        rows = []
        for ids in encode_texts(texts, self.tokenizer):
            parts = [[special.cls, *part, special.sep] for part in passages(ids, max_len - 2, keep)]
            rows.append(np.mean([self.passage_logits(np.array(part)) for part in parts], axis=0, dtype=np.float64))
        return np.stack(rows)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """The most probable class of each text; each has a token at least, see :meth:`readable`."""
        z = self.logits(texts) / self.how["temperature"]
        p = np.exp(z - z.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        return predictions(
            p.tolist(),
            encode_texts(texts, self.tokenizer),
            self.how["labels"],
            unk=special_ids(self.tokenizer).unk,
            max_len=self.how["max_len"],
            keep=self.how["keep"],
        )

    def readable(self, texts: Sequence[str]) -> list[bool]:
        """Which of the texts have a token at all."""
        return [bool(ids) for ids in encode_texts(texts, self.tokenizer)]

    def passage_logits(self, ids: NDArray[np.int64]) -> Array:
        """Logits (C,) of the ids (T,) of one passage."""
        c, w = self.config, self.weights
        x = w["transformer.embedding.token.weight"][ids] * np.float32(c.d_model**0.5 if c.scales_embedding else 1.0)
        if c.n_segments:
            x = x + w["transformer.embedding.segment.weight"][0]  # (T, D)
        if c.embed_norm:
            x = self._norm("transformer.embedding.norm", x)
        for i in range(c.n_layers):
            block = f"transformer.blocks.{i}"
            x = x + self._attention(f"{block}.attention", self._norm(f"{block}.attention_norm", x))
            h = self._linear(f"{block}.ffn.up_proj", self._norm(f"{block}.ffn_norm", x))  # (T, F)
            x = x + self._linear(f"{block}.ffn.down_proj", gelu(h))
        x = self._norm("transformer.norm", x)  # (T, D)
        return self._linear("head", x.mean(axis=0) if self.how["pooling"] == "mean" else x[0])

    def _attention(self, name: str, x: Array) -> Array:
        q, k, v = (self._heads(self._linear(f"{name}.{part}_proj", x)) for part in "qkv")
        base, pairing = self.config.position_base, self.config.rope_pairing
        q, k = (rotate(part, base=base, pairing=pairing) for part in (q, k))
        weights = softmax(q @ k.swapaxes(1, 2) / np.float32(math.sqrt(q.shape[-1])))  # (H, T, T)
        heads = weights @ v  # (H, T, Dh)
        return self._linear(f"{name}.out_proj", heads.swapaxes(0, 1).reshape(x.shape))

    def _heads(self, x: Array) -> Array:
        return x.reshape(len(x), self.config.n_heads, -1).swapaxes(0, 1)

    def _linear(self, name: str, x: Array) -> Array:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, name: str, x: Array) -> Array:
        centered = x - x.mean(axis=-1, keepdims=True)
        root = np.sqrt((centered**2).mean(axis=-1, keepdims=True) + np.float32(self.config.norm_eps))
        normed: Array = centered / root * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return normed


def gelu(x: Array) -> Array:
    """``x Φ(x)``, with the normal distribution's Φ (Hendrycks and Gimpel 2016)."""
    erf: Array = _erf(x / np.float32(math.sqrt(2)))
    gated: Array = np.float32(0.5) * x * (erf + np.float32(1))
    return gated


def softmax(x: Array) -> Array:
    """Over the last axis."""
    e: Array = np.exp(x - x.max(axis=-1, keepdims=True))
    shares: Array = e / e.sum(axis=-1, keepdims=True)
    return shares


def rotate(x: Array, *, base: float, pairing: Pairing) -> Array:
    """Rotary positions on queries or keys (H, T, Dh); see :func:`companion.apply_rope`."""
    T, d_head = x.shape[-2:]
    angles = np.outer(np.arange(T), base ** (-np.arange(0, d_head, 2) / d_head))  # (T, Dh/2)
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    if pairing == "interleaved":
        a, b = x[..., 0::2], x[..., 1::2]
        return np.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(x.shape)
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def load_numpy_classifier(name_or_folder: str | Path) -> NumpyClassifier | None:
    """The classifier of this name or folder; None if it has another shape, or something about its files is wrong.

    Then :func:`companion.load_classifier` can take it, or says what is wrong.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        settings = pretrained_settings(name_or_folder)
        config, how = pretrained_config(name_or_folder, settings), settings[CLASSIFIER]
        shapes = _shapes(config, len(how["labels"]))
        stored = load(find_pretrained(name_or_folder).joinpath(WEIGHTS).read_bytes())
        tokenizer = pretrained_tokenizer(name_or_folder, how["tokenizer"])
    except (ValueError, KeyError, OSError, SafetensorError):
        return None
    fits = (
        all(getattr(config, name) == value for name, value in SHAPE.items())
        and {name: array.shape for name, array in stored.items()} == shapes
        and tokenizer.get_vocab_size() == config.vocab_size
    )
    if not fits:
        return None
    return NumpyClassifier(config, {name: array.astype(np.float32) for name, array in stored.items()}, tokenizer, how)


def _shapes(c: TransformerConfig, n_classes: int) -> dict[str, tuple[int, ...]]:
    """The shape of each weight that is used."""
    D, F = c.d_model, c.d_ff
    linear = {"head": (n_classes, D)}
    norms = ["transformer.norm"]
    for i in range(c.n_layers):
        block = f"transformer.blocks.{i}"
        linear |= {f"{block}.attention.{part}_proj": (D, D) for part in ("q", "k", "v", "out")}
        linear |= {f"{block}.ffn.up_proj": (F, D), f"{block}.ffn.down_proj": (D, F)}
        norms += [f"{block}.attention_norm", f"{block}.ffn_norm"]
    found: dict[str, tuple[int, ...]] = {"transformer.embedding.token.weight": (c.vocab_size, D)}
    if c.n_segments:
        found["transformer.embedding.segment.weight"] = (c.n_segments, D)
    if c.embed_norm:
        norms.append("transformer.embedding.norm")
    for name, shape in linear.items():
        found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        found |= {f"{name}.weight": (D,), f"{name}.bias": (D,)}
    return found

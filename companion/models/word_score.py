r"""What a classifier makes of one text, word by word: the score that the methods of saliency share out.

Letters in the shapes: B batch, T tokens, D d_model, W words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from companion.config import check_choice
from companion.data.tokenizer import special_ids
from companion.errors import require
from companion.models.saliency import attention_rollout, by_word
from companion.nn.attention import record_attention

if TYPE_CHECKING:
    from companion.models.text_classifier import TextClassifier

Baseline = Literal["zero", "mask"]
"""What stands where a word is erased: zeros, or the embedding of ``[MASK]``."""


class WordScore:
    r"""What a classifier makes of one text, as a function of its word embeddings: ``F = log(p / (1 - p))``.

    p is the probability of the target class, with the classifier's temperature; for two classes F is the difference of
    their logits, divided by it. Segments, positions and what follows are the model's own. ``[CLS]`` and ``[SEP]`` are
    the same in text and baseline, so they have no share. A word is what stands between spaces.

    Args:
        classifier: the model with its tokenizer.
        text: at most as long as the model reads.
        target: the name of the class; by default the last one, which of ``neg`` and ``pos`` is ``pos``.

    Attributes:
        text_words: the words.
        words: (T,) the number of each token's word, -1 at the two special tokens.
        x: (T, D) the word embeddings.

    Raises:
        ValueError: there is no word, the text is too long, or there is no such class.

    >>> from companion import TransformerClassifier, TransformerConfig, load_tokenizer, TextClassifier
    >>> network = TransformerClassifier(TransformerConfig(vocab_size=8192, d_model=8), 2).eval()
    >>> score = WordScore(TextClassifier(network, load_tokenizer(), ("neg", "pos")), "An unhurried film.")
    >>> score.text_words, score.words.tolist()
    (['An', 'unhurried', 'film.'], [-1, 0, 1, 1, 1, 2, 2, -1])
    """

    def __init__(self, classifier: TextClassifier, text: str, *, target: str | None = None) -> None:
        labels = classifier.labels
        self.target = labels[-1] if target is None else target
        require(self.target in labels, f"target={target!r} must be one of {list(labels)}")
        self.model, self.temperature = classifier.model, classifier.temperature
        pieces, self.text_words, numbers = _cut(classifier, text)
        special = special_ids(classifier.tokenizer)
        device = next(self.model.parameters()).device
        self.ids = torch.tensor([[special.cls, *pieces, special.sep]], device=device)
        self.words = torch.tensor([-1, *numbers, -1], device=device)
        self._mask, self._class = special.mask, labels.index(self.target)
        self._others = [c for c in range(len(labels)) if c != self._class]
        self.x = self._embed(self.ids)[0]

    def _embed(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.model.transformer.embedding.token(ids).detach()
        return embedded

    def baseline(self, kind: Baseline = "zero") -> Tensor:
        """(T, D): the text with all its words erased, to zeros or to ``[MASK]``."""
        check_choice("baseline", kind, Baseline)
        erased = torch.zeros_like(self.x)
        if kind == "mask":
            erased = self._embed(torch.full_like(self.ids, self._mask))[0]
        return torch.where((self.words >= 0)[:, None], erased, self.x)

    def __call__(self, x: Tensor) -> Tensor:
        """F (B,) of embeddings (B, T, D)."""
        ids, was_training = self.ids.expand(len(x), -1), self.model.training
        hook = self.model.transformer.embedding.token.register_forward_hook(lambda *_: x)
        self.model.eval()
        try:
            z = self.model(ids) / self.temperature
        finally:
            hook.remove()
            self.model.train(was_training)
        odds: Tensor = z[:, self._class] - z[:, self._others].logsumexp(dim=-1)
        return odds

    @torch.no_grad()
    def rollout(self) -> Tensor:
        """(W,) float64: the share of each word in what the head reads; what is missing from 1 is at the special tokens.

        With the mean as pooling that is the mean of all rows of :func:`~companion.models.saliency.attention_rollout`,
        else its first row.
        """
        with record_attention(self.model) as maps:
            self(self.x[None])
        rollout = attention_rollout([weights[0] for weights in maps])
        read = rollout.mean(dim=0) if self.model.pooling == "mean" else rollout[0]
        return by_word(read, self.words.cpu())


def _cut(classifier: TextClassifier, text: str) -> tuple[list[int], list[str], list[int]]:
    """The ids of a text's pieces, its words, and the number of each piece's word."""
    tokenizer, room = classifier.tokenizer, classifier.max_len - 2
    before = tokenizer.encode_special_tokens
    tokenizer.encode_special_tokens = True  # a text that spells [SEP] is text like any other
    try:
        encoded = tokenizer.encode(text, add_special_tokens=False)
    finally:
        tokenizer.encode_special_tokens = before
    require(bool(encoded.ids), f"there is no word in {text!r}")
    require(len(encoded.ids) <= room, f"{len(encoded.ids)} tokens, but the classifier reads {room}; shorten the text")
    spans = [(found.end(), found[0]) for found in re.finditer(r"\S+", text)]
    places = [next(i for i, (end, _) in enumerate(spans) if start < end) for start, _ in encoded.offsets]
    used = sorted(set(places))  # a word of characters that the tokenizer drops has no piece
    return encoded.ids, [spans[i][1] for i in used], [used.index(place) for place in places]

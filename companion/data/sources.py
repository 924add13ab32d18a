r"""The streams of the three objectives: masked tokens with pairs of passages, next tokens, classes of texts.

Letters in the shapes: B batch, T tokens, N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion.data.corpus import TokenCorpus
from companion.data.long_texts import Passages, real_tokens
from companion.data.pairs import Pairs, sentence_pairs
from companion.data.passages import Keep
from companion.data.stream import Batch, BatchStream, Examples
from companion.data.tokenizer import SpecialIds, special_ids
from companion.data.transforms import IGNORE, document_row, mask_tokens
from companion.errors import require

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def mlm_stream(
    corpus: TokenCorpus, tokenizer: Tokenizer, *, length: int, p: float = 0.15, next_sentence: bool = True, **size: Any
) -> BatchStream:
    """Masked language modeling, with next-sentence prediction or without.

    With it, a row is a pair of passages, drawn anew in each epoch. Without, it is a block of consecutive text that may
    run over the end of a document (Liu et al. 2019), and there are no segments.

    Args:
        corpus: the documents.
        tokenizer: the one that made their ids.
        length: tokens in a row at most.
        p: share of the tokens to be predicted.
        next_sentence: whether rows are pairs.
        size: ``tokens_per_batch`` or ``batch_size``, ``seed``, ``rank``, ``world_size`` of :class:`BatchStream`.
    """
    masking = _Masking(special_ids(tokenizer), tokenizer.get_vocab_size(), p)
    return BatchStream(_MaskedSource(corpus, masking, length, next_sentence), **size)


def causal_stream(corpus: TokenCorpus, tokenizer: Tokenizer, *, length: int, **size: Any) -> BatchStream:
    """Next-token prediction on blocks of exactly ``length`` tokens, the documents shuffled in each epoch.

    The label of a position is the token after it, that of the last one too, so every token is predicted once; the
    ``[CLS]`` that begins a document is given, not predicted. Arguments as in :func:`mlm_stream`.
    """
    return BatchStream(_CausalSource(corpus, special_ids(tokenizer), length), **size)


def classification_stream(
    texts: Sequence[str],
    labels: Sequence[int],
    tokenizer: Tokenizer,
    *,
    max_len: int,
    keep: Keep = "head",
    **size: Any,
) -> BatchStream:
    """Texts with their classes.

    Args:
        texts: what is to be classified.
        labels: the class of each, from 0.
        tokenizer: what cuts them into pieces; it puts ``[CLS]`` before and ``[SEP]`` behind.
        max_len: tokens at most, the special ones included.
        keep: what is read of a longer text; see :data:`companion.data.passages.Keep`. With ``"windows"`` each epoch
            reads one window of every text, drawn anew.
        size: ``tokens_per_batch`` or ``batch_size``, ``seed``, ``rank``, ``world_size`` of :class:`BatchStream`.

    Raises:
        ValueError: not one label for each text, a label that is no class, a text without a token.
    """
    return BatchStream(_TextSource(texts, labels, tokenizer, max_len, keep), **size)


@dataclass(frozen=True)
class _Masking:
    special: SpecialIds
    vocab_size: int
    p: float

    def __call__(self, ids: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return mask_tokens(
            ids,
            mask_id=self.special.mask,
            vocab_size=self.vocab_size,
            special=self.special,
            p=self.p,
            generator=generator,
        )


@dataclass(frozen=True)
class _MaskedSource:
    corpus: TokenCorpus
    masking: _Masking
    length: int
    next_sentence: bool

    def epoch(self, generator: torch.Generator) -> Examples:
        cls_id, sep_id = self.masking.special.cls, self.masking.special.sep
        if self.next_sentence:
            pairs = sentence_pairs(self.corpus, length=self.length, cls_id=cls_id, sep_id=sep_id, generator=generator)
            return _MaskedPairs(pairs, self.masking)
        row = document_row(self.corpus, cls_id=cls_id, sep_id=sep_id, generator=generator)
        return _Blocks(row, self.length, len(row) // self.length, self.masking, cls_id)


@dataclass(frozen=True)
class _MaskedPairs:
    pairs: Pairs
    masking: _Masking

    @property
    def lengths(self) -> Tensor:
        return self.pairs.lengths

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        ids, segments, lengths = self.pairs.rows(rows, pad_id=self.masking.special.pad)
        inputs, labels = self.masking(ids, generator)
        return Batch(
            inputs, labels, segments, real_tokens(lengths, ids.size(1)), next_labels=self.pairs.labels[rows], rows=rows
        )


@dataclass(frozen=True)
class _CausalSource:
    corpus: TokenCorpus
    special: SpecialIds
    length: int

    def epoch(self, generator: torch.Generator) -> Examples:
        row = document_row(self.corpus, cls_id=self.special.cls, sep_id=self.special.sep, generator=generator)
        # The label of a block's last position is the first token of the next block, so one token more is needed.
        return _Blocks(row, self.length, (len(row) - 1) // self.length, None, self.special.cls)


@dataclass(frozen=True)
class _Blocks:
    """Blocks of one long row, to be masked, or with the next tokens as labels."""

    row: Tensor
    length: int
    n: int
    masking: _Masking | None
    cls_id: int

    def __post_init__(self) -> None:
        require(self.n >= 1, f"the documents have {len(self.row)} tokens, which fill no block of {self.length}")

    @property
    def lengths(self) -> Tensor:
        return torch.full((self.n,), self.length)

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        place = rows[:, None] * self.length + torch.arange(self.length)  # (B, T)
        ids = self.row[place].long()
        if self.masking is not None:
            return Batch(*self.masking(ids, generator), rows=rows)
        labels = self.row[place + 1].long()
        return Batch(ids, labels.masked_fill_(labels == self.cls_id, IGNORE), rows=rows)


class _TextSource:
    """Texts as ids: the same in every epoch, but for windows, of which each epoch draws one of every text."""

    def __init__(
        self, texts: Sequence[str], labels: Sequence[int], tokenizer: Tokenizer, max_len: int, keep: Keep
    ) -> None:
        require(
            len(texts) == len(labels) > 0,
            f"{len(texts)} texts and {len(labels)} labels; give one for each, at least one",
        )
        wrong = [i for i, label in enumerate(labels) if label < 0 or label != int(label)]
        require(
            not wrong,
            lambda: (
                f"labels must be whole numbers from 0; the first that is not is {labels[wrong[0]]}, of text {wrong[0]}"
            ),
        )
        self.passages = Passages(texts, tokenizer, max_len=max_len, keep=keep)
        self.classes = torch.tensor(labels)
        self.windows = self.passages.text.bincount(minlength=len(texts))  # of each text
        self.first = self.windows.cumsum(0) - self.windows

    def epoch(self, generator: torch.Generator) -> Examples:
        draw = torch.rand(len(self.windows), generator=generator) * self.windows
        return _TextExamples(self, self.first + draw.long().clamp_(max=self.windows - 1))


@dataclass(frozen=True)
class _TextExamples:
    source: _TextSource
    chosen: Tensor  # a passage of each text

    @property
    def lengths(self) -> Tensor:
        return self.source.passages.lengths[self.chosen]

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        ids, padding = self.source.passages.ids(self.chosen[rows])
        return Batch(ids, padding=padding, classes=self.source.classes[rows], rows=rows)

r"""Texts that are longer than a model reads: their passages, see :mod:`companion.data.passages`, in batches.

Letters in the shapes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from companion.config import check_choice
from companion.data.passages import Keep, passages, said_of_longer, said_of_unknown_tokens
from companion.data.stream import Batch
from companion.data.tokenizer import encode_texts, special_ids
from companion.errors import require

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Passages:
    """The passages of many texts, each between ``[CLS]`` and ``[SEP]``, in one row of ids.

    Args:
        texts: the texts.
        tokenizer: what cuts them into pieces.
        max_len: tokens of a passage at most, the special ones included.
        keep: what is read of a longer text.

    Raises:
        ValueError: no text, no room, an unknown ``keep``, or texts without a token.

    Attributes:
        max_len: as given.
        keep: as given.
        text: the number of the text that each passage is from.
        lengths: how many tokens each passage has, the special ones included.
        tokens: how many tokens each *text* has, the special ones included.
        unknown: how many tokens of the passages are ``[UNK]``.
    """

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer, *, max_len: int, keep: Keep) -> None:
        require(max_len >= 3, f"max_len={max_len} has no room for [CLS], a token and [SEP]; take at least 3")
        check_choice("keep", keep, Keep)
        special = special_ids(tokenizer)
        self.max_len, self.keep, self.pad_id = max_len, keep, special.pad
        encoded = encode_texts(texts, tokenizer)
        require(len(encoded) > 0, "there is no text; give at least one")
        empty = [i for i, ids in enumerate(encoded) if not ids]
        require(not empty, lambda: f"{len(empty)} texts have no token, the first is number {empty[0]}; leave them out")
        parts = [(i, part) for i, ids in enumerate(encoded) for part in passages(ids, max_len - 2, keep)]
        self.tokens = torch.tensor([len(ids) + 2 for ids in encoded])
        self.text = torch.tensor([i for i, _ in parts])
        self.lengths = torch.tensor([len(part) + 2 for _, part in parts])
        self._starts = self.lengths.cumsum(0) - self.lengths
        row = [i for _, part in parts for i in (special.cls, *part, special.sep)]
        self._ids = torch.tensor(row, dtype=torch.int32)
        self.unknown = int((self._ids == special.unk).sum())

    def said_of_longer(self) -> str:
        """How many texts are read in part, in words; empty if none is. See :mod:`companion.data.passages`."""
        longer = int((self.tokens > self.max_len).sum())
        return said_of_longer(longer, len(self.tokens), self.max_len - 2, self.keep)

    def said_of_unknown(self) -> str:
        """That too many tokens are ``[UNK]``, and what helps; empty if not. See :mod:`companion.data.passages`."""
        return said_of_unknown_tokens(self.unknown, int((self.lengths - 2).sum()))

    def ids(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """These passages (B, T), padded to the longest, and their padding (B, T), None if there is none."""
        lengths = self.lengths[rows]
        t = torch.arange(int(lengths.max()))
        padding = real_tokens(lengths, len(t))
        ids = self._ids[(self._starts[rows, None] + t).clamp_(max=len(self._ids) - 1)].long()
        if padding is not None:
            ids.masked_fill_(~padding, self.pad_id)
        return ids, padding

    def batches(self, tokens_per_batch: int) -> list[Batch]:
        """All passages once, sorted by length, the longest first; ``rows`` are the numbers of their texts.

        A batch has as many as stay within that many tokens, padding included, and at least one.
        """
        order = self.lengths.argsort(descending=True, stable=True)
        lengths = self.lengths[order].tolist()
        batches, i = [], 0
        while i < len(order):
            rows = order[i : i + max(1, tokens_per_batch // lengths[i])]
            ids, padding = self.ids(rows)
            batches.append(Batch(ids, padding=padding, rows=self.text[rows]))
            i += len(rows)
        return batches


def real_tokens(lengths: Tensor, T: int) -> Tensor | None:
    """(B, T) bool, True = real token; None if all are."""
    return None if int(lengths.min()) == T else torch.arange(T) < lengths[:, None]

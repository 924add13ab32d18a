r"""Texts as token ids, with the places where sentences and documents end.

:func:`encode_corpus` turns texts into a :class:`TokenCorpus`: one long row of ids, which a file holds as it is. What is
left out is counted and named in ``skipped``.

Letters in the shapes: N tokens, S sentences, D documents.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion.data.texts import split_sentences
from companion.data.tokenizer import encode_texts
from companion.errors import require
from companion.files import write_whole

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Texts handed to the tokenizer at once.
_TEXTS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class TokenCorpus:
    """Documents as one row of token ids. The ends count tokens from the start of the row: document d is
    ``ids[document_ends[d-1] : document_ends[d]]``, and its last sentence ends where it does.

    Attributes:
        ids: (N,) int32, without special tokens.
        sentence_ends: (S,) int64, increasing; the last one is N.
        document_ends: (D,) int64, increasing, each of them also a sentence's end.
        skipped: how many documents were left out for which reason.
    """

    ids: Tensor
    sentence_ends: Tensor
    document_ends: Tensor
    skipped: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("sentence_ends", "document_ends"):
            ends: Tensor = getattr(self, name)
            require(
                len(ends) > 0 and int(ends[-1]) == len(self.ids) and int(ends[0]) > 0 and bool((ends.diff() > 0).all()),
                f"{name} must increase from above 0 to the number of tokens, {len(self.ids)}; is the corpus empty?",
            )
        require(bool(torch.isin(self.document_ends, self.sentence_ends).all()), "a document ends inside a sentence")

    @classmethod
    def from_documents(cls, documents: Iterable[Iterable[Sequence[int]]]) -> TokenCorpus:
        """A corpus of documents given as lists of sentences, and these as lists of token ids.

        Sentences and documents without tokens are left out and counted.

        >>> corpus = TokenCorpus.from_documents([[[5, 6], [7]], [[8, 9, 10]]])
        >>> corpus.ids.tolist(), corpus.sentence_ends.tolist(), corpus.document_ends.tolist()
        ([5, 6, 7, 8, 9, 10], [2, 3, 6], [3, 6])
        """
        builder = _Builder()
        for document in documents:
            builder.add(document)
        return builder.corpus()

    @property
    def n_documents(self) -> int:
        """Number of documents, D."""
        return len(self.document_ends)

    @property
    def n_sentences(self) -> int:
        """Number of sentences, S."""
        return len(self.sentence_ends)

    @property
    def n_tokens(self) -> int:
        """Number of tokens, N."""
        return len(self.ids)

    @property
    def document_starts(self) -> Tensor:
        """(D,) int64: where the documents begin."""
        return _starts(self.document_ends)

    def documents(self) -> Sequence[Tensor]:
        """The token ids of each document."""
        return torch.split(self.ids, (self.document_ends - self.document_starts).tolist())

    def select(self, documents: Tensor) -> TokenCorpus:
        """A corpus of these documents (numbers, in this order)."""
        starts, ends = self.document_starts[documents], self.document_ends[documents]
        first = torch.searchsorted(self.sentence_ends, starts, right=True)
        last = torch.searchsorted(self.sentence_ends, ends, right=True)
        new_ends = (ends - starts).cumsum(0)
        shift = _starts(new_ends) - starts  # (D,), from places here to places in the new row
        parts = self.documents()
        n = last - first
        sentences = torch.arange(int(n.sum())) - torch.repeat_interleave(_starts(n.cumsum(0)) - first, n)
        return TokenCorpus(
            torch.cat([parts[d] for d in documents.tolist()]),
            self.sentence_ends[sentences] + torch.repeat_interleave(shift, n),
            new_ends,
        )

    def split(self, held_out: float, seed: int = 0) -> tuple[TokenCorpus, TokenCorpus]:
        """(the rest, the share ``held_out``), by whole documents, drawn by ``seed``; both keep the documents' order.

        Raises:
            ValueError: one of the two would be empty.
        """
        chosen = torch.zeros(self.n_documents, dtype=torch.bool)
        chosen[held_out_documents(self.n_documents, held_out, seed)] = True
        return self.select((~chosen).nonzero()[:, 0]), self.select(chosen.nonzero()[:, 0])

    def counts(self) -> dict[str, Any]:
        """Documents, sentences and tokens, and what was left out."""
        return {
            "documents": self.n_documents,
            "sentences": self.n_sentences,
            "tokens": self.n_tokens,
            "skipped": self.skipped,
        }

    def save(self, folder: str | Path) -> None:
        """Write ``corpus.safetensors`` and ``corpus.json`` (the counts) into a folder."""
        from safetensors.torch import save

        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        counts = json.dumps(self.counts(), indent=1) + "\n"
        write_whole(
            {Path(folder) / "corpus.safetensors": save(tensors), Path(folder) / "corpus.json": counts.encode("utf-8")}
        )

    @classmethod
    def load(cls, folder: str | Path) -> TokenCorpus:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: a file is missing or damaged, or the two do not belong together.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = Path(folder)
        for name in ("corpus.safetensors", "corpus.json"):
            require((folder / name).is_file(), f"{folder} holds no {name}; make it with: companion data --out {folder}")
        try:
            tensors = load_file(folder / "corpus.safetensors")
            counts = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
            corpus = cls(**{name: tensors[name] for name in _TENSORS}, skipped=counts["skipped"])
        except (SafetensorError, KeyError, ValueError) as error:
            raise ValueError(f"the corpus in {folder} is damaged ({error}); make it again") from error
        require(
            corpus.counts() == counts, f"corpus.json in {folder} is of another corpus; make it again: {corpus.counts()}"
        )
        return corpus


_TENSORS = ("ids", "sentence_ends", "document_ends")


def _starts(ends: Tensor) -> Tensor:
    return torch.cat([ends.new_zeros(1), ends[:-1]])


def held_out_documents(n: int, share: float, seed: int = 0) -> list[int]:
    """The numbers of the documents that a split holds out: ``round(share * n)`` of them, drawn by ``seed``.

    >>> held_out_documents(10, 0.2) == held_out_documents(10, 0.2), len(held_out_documents(10, 0.2))
    (True, 2)
    """
    held_out = round(share * n)
    require(
        0 < held_out < n,
        f"holding out {share} of {n} documents leaves one side empty; change the share or add documents",
    )
    generator = torch.Generator().manual_seed(seed)
    return sorted(torch.randperm(n, generator=generator)[:held_out].tolist())


class _Builder:
    """Collects documents."""

    def __init__(self) -> None:
        self.parts: list[Tensor] = []
        self.sentences: list[int] = []
        self.documents: list[int] = []
        self.skipped: Counter[str] = Counter()
        self.n = 0

    def add(self, document: Iterable[Sequence[int]]) -> None:
        start = self.n
        flat: list[int] = []
        for sentence in document:
            if len(sentence):
                flat.extend(sentence)
                self.n += len(sentence)
                self.sentences.append(self.n)
        if self.n == start:
            self.skipped["documents without tokens"] += 1
            return
        self.parts.append(torch.tensor(flat, dtype=torch.int32))
        self.documents.append(self.n)

    def corpus(self, skipped: dict[str, int] | None = None) -> TokenCorpus:
        require(bool(self.documents), "no document has a token; is the corpus empty?")
        return TokenCorpus(
            torch.cat(self.parts),
            torch.tensor(self.sentences),
            torch.tensor(self.documents),
            {**(skipped or {}), **self.skipped},
        )


def encode_corpus(
    texts: Sequence[str], tokenizer: Tokenizer, *, skipped: dict[str, int] | None = None, progress: bool = False
) -> TokenCorpus:
    """Split every text into sentences and these into tokens, without special tokens.

    Args:
        texts: the documents.
        tokenizer: what cuts them into pieces; see :func:`companion.load_tokenizer`.
        skipped: what was left out before, so that the corpus holds the whole count.
        progress: show a bar.

    Raises:
        ValueError: no text has a token.
    """
    from tqdm import tqdm

    builder = _Builder()
    with tqdm(total=len(texts), desc="encoding", unit=" documents", disable=not progress) as bar:
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            documents = [split_sentences(text) for text in texts[start : start + _TEXTS_AT_ONCE]]
            flat = [sentence for document in documents for sentence in document]
            encoded = iter(encode_texts(flat, tokenizer))
            for document in documents:
                builder.add([next(encoded) for _ in document])
            bar.update(len(documents))
    return builder.corpus(skipped)

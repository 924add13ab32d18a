r"""Texts as token ids, with the places where sentences and documents end.

:func:`read_texts` reads a folder of ``.txt`` and ``.jsonl`` files, :func:`split_sentences` cuts a text at the ends of
its sentences, :func:`encode_corpus` turns texts into a :class:`TokenCorpus`: one long row of ids, which a file holds
as it is. Whatever is left out is counted and named in ``skipped``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from companion.errors import require

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Texts handed to the tokenizer at once.
_TEXTS_AT_ONCE = 1024


class Texts(NamedTuple):
    """Documents, and how many were left out for which reason."""

    texts: list[str]
    skipped: dict[str, int]


def read_texts(folder: str | Path) -> Texts:
    """The documents in a folder and the folders in it: each ``.txt`` file is one, each line of a ``.jsonl`` file too.

    A line of a ``.jsonl`` file is a JSON object with the text in its field ``text``. Documents without any text, and
    rows whose ``text`` is missing or null, are left out and counted.

    Raises:
        ValueError: there is no such folder or no such file in it, nothing is left, or a file is not what its name says:
            bytes that are no UTF-8, a line that is no JSON object, a ``text`` that is no string. The message names the
            file and the line.
    """
    root = Path(folder)
    require(root.is_dir(), f"{root} is no folder; give one that holds .txt or .jsonl files")
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in (".txt", ".jsonl") and p.is_file())
    require(bool(files), f"{root} holds no .txt and no .jsonl file")
    texts: list[str] = []
    skipped: Counter[str] = Counter()
    for path in files:
        for text in _documents(path):
            if text is None:
                skipped["rows without text"] += 1
            elif not text.strip():
                skipped["empty documents"] += 1
            else:
                texts.append(text)
    require(bool(texts), f"no text in {root}: {len(files)} files, left out {dict(skipped)}")
    return Texts(texts, dict(skipped))


def _documents(path: Path) -> Iterator[str | None]:
    data = path.read_bytes()
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is no UTF-8; save the file as UTF-8"
        ) from error
    if path.suffix.lower() == ".txt":
        yield content
        return
    for number, row in enumerate(content.split("\n"), start=1):
        if row.strip():
            yield _row(path, number, row)


def _row(path: Path, number: int, line: str) -> str | None:
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {number}: no JSON ({error.msg}); one object a line is expected") from error
    require(isinstance(row, dict), lambda: f"{path}, line {number}: a {type(row).__name__}; an object is expected")
    text = row.get("text")
    require(
        text is None or isinstance(text, str),
        lambda: f"{path}, line {number}: text is a {type(text).__name__}; a string is expected",
    )
    return None if text is None else str(text)


# After the mark that ends a sentence and what closes with it, before what can begin one; not after a title or an
# initial. A line break always ends a sentence, and so do the full stops of Chinese and Japanese.
_CLOSING = "\"'”’)\\]"
_END = re.compile(
    rf"(?<!\b[A-Z])(?<!\b[Mm]r)(?<!\b[Mm]rs)(?<!\b[Mm]s)(?<!\b[Dd]r)(?<!\b[Ss]t)(?<!\b[Jj]r)(?<!\b[Ss]r)(?<!\bvs)"
    rf"[.!?]+[{_CLOSING}]*[^\S\n]+(?=[\"'“‘(\[]*[^\W_a-z])|[。！？]+[”’」』）]*\s*|\s*\n\s*"
)


def split_sentences(text: str) -> list[str]:
    r"""Cut a text into sentences by rule: after ``. ! ?`` before a capital letter or a digit, and at line breaks.

    Titles (*Mr. Mrs. Dr.*) and initials do not end a sentence. The rule errs now and then, which training forgives.
    The sentences hold all of the text but the white space between them.

    >>> split_sentences('Dr. No has style. "Is it good?" Yes! It cost $3.50.\nSee it')
    ['Dr. No has style.', '"Is it good?"', 'Yes!', 'It cost $3.50.', 'See it']
    """
    sentences, start = [], 0
    for match in _END.finditer(text):
        sentences.append(text[start : match.end()].strip())
        start = match.end()
    sentences.append(text[start:].strip())
    return [s for s in sentences if s]


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
        n = held_out_documents(self.n_documents, held_out, seed)
        chosen = torch.zeros(self.n_documents, dtype=torch.bool)
        chosen[n] = True
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
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        save_file(tensors, folder / "corpus.safetensors")
        (folder / "corpus.json").write_text(json.dumps(self.counts(), indent=1) + "\n", encoding="utf-8")

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
        skipped: what was left out already, to be counted on.
        progress: show a bar.
    """
    from tqdm import tqdm

    builder = _Builder()
    with tqdm(total=len(texts), desc="encoding", unit=" documents", disable=not progress) as bar:
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            documents = [split_sentences(text) for text in texts[start : start + _TEXTS_AT_ONCE]]
            flat = [sentence for document in documents for sentence in document]
            encoded = iter(tokenizer.encode_batch_fast(flat, add_special_tokens=False))
            for document in documents:
                builder.add([next(encoded).ids for _ in document])
            bar.update(len(documents))
    return builder.corpus(skipped)

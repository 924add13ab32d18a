r"""Pairs of passages for next-sentence prediction (Devlin et al. 2019, section 3.1).

A document is cut at the ends of its sentences into chunks that fit a row, and each chunk in two, A and B. Half of the
rows keep their B (label 0, it follows); in the other half the B's are dealt anew among themselves (label 1), each one
to a chunk of another document whose own B was about as long. So every token is used once, and nothing tells the two
kinds of rows apart but whether B goes with A: not their lengths, and not where in a document an A or a B comes from.
The exceptions are the few dealt rows whose own B's are the shortest: they get the longest ones, cut where these do not
fit.

Letters in the shapes: P pairs, B batch, T tokens, N tokens of the corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from companion.data.corpus import TokenCorpus
from companion.errors import require

#: The labels of next-sentence prediction.
IS_NEXT, NOT_NEXT = 0, 1
#: [CLS] A [SEP] B [SEP]
N_SPECIAL = 3


@dataclass(frozen=True, eq=False)
class Pairs:
    """Where the passages of each pair stand in the corpus; :meth:`rows` writes them out.

    Attributes:
        ids: (N,), the tokens of the corpus.
        a_start: (P,), where A begins, and so on.
        a_len: (P,), its tokens, at least 1.
        b_start: (P,)
        b_len: (P,), at least 1.
        labels: (P,), 0 if B follows A and 1 if it comes from another document.
        cls_id: begins a row.
        sep_id: ends A, and B.
        skipped: how many pieces of text were left out, or cut inside a sentence, for which reason.
    """

    ids: Tensor
    a_start: Tensor
    a_len: Tensor
    b_start: Tensor
    b_len: Tensor
    labels: Tensor
    cls_id: int
    sep_id: int
    skipped: dict[str, int]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> Tensor:
        """(P,): tokens of each row, special ones included."""
        return self.a_len + self.b_len + N_SPECIAL

    def rows(self, which: Tensor, *, pad_id: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """The pairs ``which`` (B,) as (ids, segments, lengths): (B, T), (B, T) and (B,), padded to the longest.

        ``[CLS] A [SEP]`` is segment 0, ``B [SEP]`` segment 1, and padding 0.
        """
        a_len, b_len = self.a_len[which, None], self.b_len[which, None]  # (B, 1)
        lengths = a_len + b_len + N_SPECIAL
        t = torch.arange(int(lengths.max()))  # (T,)
        second = t >= a_len + 2  # (B, T)
        place = t - 1 + torch.where(second, self.b_start[which, None] - a_len - 1, self.a_start[which, None])
        ids = self.ids[place.clamp_(0, len(self.ids) - 1)].long()  # (B, T)
        ids[:, 0] = self.cls_id
        ids.masked_fill_((t == a_len + 1) | (t == lengths - 1), self.sep_id)
        ids.masked_fill_(t >= lengths, pad_id)
        return ids, (second & (t < lengths)).long(), lengths[:, 0]


def sentence_pairs(
    documents: TokenCorpus | Iterable[Iterable[Sequence[int]]],
    *,
    length: int,
    cls_id: int,
    sep_id: int,
    generator: torch.Generator,
) -> Pairs:
    """Draw the pairs of one pass over the documents, half of them consecutive.

    A and B end where a sentence ends, save that a sentence too long for a row is cut at the row's end, that a chunk of
    a single sentence is cut inside it, and that a B which does not fit is cut off. Chunks of a single token are left
    out. ``skipped`` counts each of these.

    Args:
        documents: a corpus, or documents as lists of sentences, and these as lists of ids.
        length: tokens in a row at most, ``[CLS] A [SEP] B [SEP]``.
        cls_id: begins a row.
        sep_id: ends A, and B.
        generator: where the chance comes from: where documents and chunks are cut, and which B goes where.

    Raises:
        ValueError: no room for two tokens, or fewer than two documents that have two.

    >>> documents = [[[10, 11], [12], [13, 14]], [[20], [21, 22, 23]]]
    >>> pairs = sentence_pairs(documents, length=16, cls_id=2, sep_id=3, generator=torch.Generator().manual_seed(0))
    >>> ids, segments, lengths = pairs.rows(torch.arange(2))
    >>> ids.tolist(), pairs.labels.tolist()
    ([[2, 10, 11, 12, 3, 13, 14, 3], [2, 20, 3, 13, 14, 3, 0, 0]], [0, 1])
    """
    corpus = documents if isinstance(documents, TokenCorpus) else TokenCorpus.from_documents(documents)
    room = length - N_SPECIAL
    require(room >= 2, f"length={length} has no room for [CLS] A [SEP] B [SEP]; take at least {N_SPECIAL + 2}")
    start, end = _chunks(corpus, room, generator)
    whole = end - start >= 2
    skipped = {"chunks of one token": int((~whole).sum())}
    start, end = start[whole], end[whole]
    document = torch.searchsorted(corpus.document_ends, start, right=True)
    require(
        len(start) > 0 and bool(document[0] != document[-1]),
        lambda: (
            f"half of the second passages come from another document, but of {corpus.n_documents} only "
            f"{len(torch.unique(document))} has two tokens or more; give at least two such documents (a .txt file is "
            "one)"
        ),
    )
    middle, inside = _middles(corpus.sentence_ends, start, end, generator)
    skipped["chunks of one sentence, cut inside it"] = inside

    labels = torch.zeros(len(start), dtype=torch.int64)
    labels[torch.randperm(len(start), generator=generator)[: len(start) // 2]] = NOT_NEXT
    source = _deal(end - middle, document, labels == NOT_NEXT, generator)
    b_start, b_len = middle[source], (end - middle)[source]
    fits = torch.minimum(b_len, room - (middle - start))
    skipped["second passages cut to fit"] = int((fits < b_len).sum())
    return Pairs(corpus.ids, start, middle - start, b_start, fits, labels, cls_id, sep_id, skipped)


def _chunks(corpus: TokenCorpus, room: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Starts and ends of runs of whole sentences of at most ``room`` tokens that cover every document.

    What is left of a document is cut into as few chunks as will do and these about equally long, save for a random
    quarter, so that it is cut elsewhere in each epoch. Two sentences are taken where two fit, and one is not left over
    if that can be helped: a chunk of one sentence has no seam to be cut at. One step of the loop cuts a chunk off all
    documents at once.
    """
    ends = corpus.sentence_ends
    begin, stop = corpus.document_starts, corpus.document_ends
    starts, stops = [], []
    while len(begin):
        rest = stop - begin
        even = rest / (rest / room).ceil()
        target = (even * (0.75 + 0.5 * torch.rand(len(rest), generator=generator))).clamp(max=room).long()
        limit = torch.where(rest <= room, rest, target)
        first = torch.searchsorted(ends, begin, right=True)  # all of these count sentences
        last = torch.searchsorted(ends, stop)
        second = torch.minimum(first + 1, last)
        within = torch.searchsorted(ends, begin + limit, right=True) - 1
        cut = torch.maximum(within, torch.where(ends[second] <= begin + room, second, first))
        one_left = cut == last - 1
        takes_it = one_left & (rest <= room)
        gives_one = one_left & ~takes_it & (cut > first + 1) & (stop - ends[(cut - 1).clamp(min=0)] <= room)
        cut = torch.where(takes_it, last, cut - gives_one.long())
        end = torch.minimum(ends[cut], begin + room)  # a sentence longer than a row is cut
        starts.append(begin)
        stops.append(end)
        more = end < stop
        begin, stop = end[more], stop[more]
    start, end = torch.cat(starts), torch.cat(stops)
    order = start.argsort()
    return start[order], end[order]


def _middles(sentence_ends: Tensor, start: Tensor, end: Tensor, generator: torch.Generator) -> tuple[Tensor, int]:
    """Where each chunk is cut in two: at one of the sentence ends inside it, or anywhere if there is none (counted)."""
    low = torch.searchsorted(sentence_ends, start, right=True)
    n = torch.searchsorted(sentence_ends, end) - low
    draw = torch.rand(len(start), generator=generator, dtype=torch.float64)
    at_sentence = sentence_ends[low + (draw * n).long().clamp(max=n.clamp(min=1) - 1)]
    anywhere = start + 1 + (draw * (end - start - 1)).long()
    return torch.where(n > 0, at_sentence, anywhere), int((n == 0).sum())


def _deal(size: Tensor, document: Tensor, anew: Tensor, generator: torch.Generator) -> Tensor:
    """(P,): whose B each row gets: its own, or where ``anew`` that of a row of another document with a B of its size.

    The rows are ordered by the size of their B and everybody takes the B a few places further on, the last few those
    of the first. Rows that would get one of their own document do the same again among themselves. Whoever is left
    after that (one document has more than half of all) gets a B of any other document, and some B's are used twice.
    """
    source = torch.arange(len(size))
    rows = anew.nonzero()[:, 0]
    rows = rows[torch.randperm(len(rows), generator=generator)]
    rows = rows[size[rows].argsort(descending=True, stable=True)]
    for _ in range(32):
        if len(rows) < 2:
            break
        step = 1 + int(torch.randint(min(64, 1 + len(rows) // 16), (), generator=generator))
        source[rows] = source[rows].roll(-step)
        rows = rows[document[rows] == document[source[rows]]]
    if len(rows):
        # Chunks stand in the order of the documents, so those of one document are an interval.
        low = torch.searchsorted(document, document[rows])
        n = torch.searchsorted(document, document[rows], right=True) - low
        draw = torch.rand(len(rows), generator=generator, dtype=torch.float64)
        other = (draw * (len(size) - n)).long()
        source[rows] = other + torch.where(other >= low, n, 0)
    return source

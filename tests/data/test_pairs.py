"""Pairs of passages: half follow each other, half come from other documents, and nothing else tells them apart."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_corpus import CLS, SEP, numbered, random_sizes

from companion.data.pairs import IS_NEXT, N_SPECIAL, NOT_NEXT, sentence_pairs

CORPUS = numbered(random_sizes(400))
CUT_INSIDE, TOO_SHORT, CUT_TO_FIT = (
    "chunks of one sentence, cut inside it",
    "chunks of one token",
    "second passages cut to fit",
)


def draw(corpus, length, seed=0):
    return sentence_pairs(corpus, length=length, cls_id=CLS, sep_id=SEP, generator=torch.Generator().manual_seed(seed))


def document_of(corpus, places):
    return torch.searchsorted(corpus.document_ends, places, right=True)


def check(corpus, pairs, length):
    """What holds for all pairs whatsoever."""
    a_end, b_end = pairs.a_start + pairs.a_len, pairs.b_start + pairs.b_len
    assert (pairs.a_len >= 1).all() and (pairs.b_len >= 1).all() and (pairs.lengths <= length).all()
    a, b = document_of(corpus, pairs.a_start), document_of(corpus, pairs.b_start)
    assert torch.equal(document_of(corpus, a_end - 1), a) and torch.equal(document_of(corpus, b_end - 1), b)
    follows = pairs.labels == IS_NEXT
    assert torch.equal(pairs.b_start[follows], a_end[follows])
    assert (a != b)[~follows].all()
    assert int((~follows).sum()) == len(pairs) // 2


@pytest.mark.parametrize("length", [16, 64, 128])
def test_half_follow_and_half_come_from_another_document(length):
    check(CORPUS, draw(CORPUS, length), length)


@given(
    sizes=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=2, max_size=9),
    length=st.integers(5, 30),
    seed=st.integers(0, 3),
)
@settings(max_examples=60)
def test_small_corpora_of_any_shape(sizes, length, seed):
    corpus = numbered(sizes)
    if sum(sum(document) > 1 for document in sizes) < 2:
        with pytest.raises(ValueError, match=r"only [01] has two tokens or more"):
            draw(corpus, length, seed)
    else:
        check(corpus, draw(corpus, length, seed), length)


def test_every_token_stands_in_one_pair():
    pairs = draw(CORPUS, 64)
    ids, _, _ = pairs.rows(torch.arange(len(pairs)))
    counts = torch.bincount(ids[ids > SEP], minlength=CORPUS.n_tokens + 5)[5:]
    assert int((counts == 1).sum()) >= 0.99 * CORPUS.n_tokens
    assert int(counts.max()) <= 2


def test_passages_end_where_sentences_end():
    # Sentences of at most 30 tokens and documents of at least two sentences.
    corpus = numbered([[*document, 5] for document in random_sizes(400)])
    pairs = draw(corpus, 160)
    ends = torch.stack([pairs.a_start + pairs.a_len, pairs.b_start + pairs.b_len])
    inside = int((~torch.isin(ends, corpus.sentence_ends)).sum())
    cut = pairs.skipped[CUT_INSIDE] + pairs.skipped[CUT_TO_FIT]
    assert 0 < inside <= cut < 0.03 * len(pairs)
    assert pairs.skipped[TOO_SHORT] < 0.01 * len(pairs)


def test_lengths_and_places_do_not_give_the_label_away():
    corpus = numbered(random_sizes(3000, seed=1))
    pairs = draw(corpus, 96)
    starts = corpus.document_starts
    measures = {
        "a_len": pairs.a_len,
        "b_len": pairs.b_len,
        "length": pairs.lengths,
        "place of a": pairs.a_start - starts[document_of(corpus, pairs.a_start)],
        "place of b": pairs.b_start - starts[document_of(corpus, pairs.b_start)],
    }
    follows = pairs.labels == IS_NEXT
    for name, x in measures.items():
        x = x.double()
        error = (x[follows].var() / follows.sum() + x[~follows].var() / (~follows).sum()).sqrt()
        assert abs(x[follows].mean() - x[~follows].mean()) < 4 * error, name
    # And each B beside the A it got: the new one is about as long as the old one.
    gap = pairs.lengths[~follows] - (pairs.a_len + _own_b_len(pairs))[~follows] - N_SPECIAL
    assert (gap.abs() <= 6).double().mean() > 0.95


def _own_b_len(pairs):
    """How long the passage is that follows each A: B's were dealt among the rows, so it is the B of some row."""
    order = pairs.b_start.argsort()
    place = torch.searchsorted(pairs.b_start[order], pairs.a_start + pairs.a_len)
    return pairs.b_len[order[place.clamp(max=len(order) - 1)]]


def test_rows_are_written_out():
    corpus = numbered([[3, 1], [2, 4]])  # 5 6 7 | 8 and 9 10 | 11 12 13 14
    pairs = draw(corpus, 12)
    rows = torch.tensor([1, 0])
    ids, segments, lengths = pairs.rows(rows, pad_id=1)
    b = {IS_NEXT: [[8], [11, 12, 13, 14]], NOT_NEXT: [[11, 12, 13, 14], [8]]}
    for i, row in enumerate(rows.tolist()):
        second = b[int(pairs.labels[row])][row]
        row_ids = [CLS, *[[5, 6, 7], [9, 10]][row], SEP, *second, SEP]
        n = len(row_ids)
        assert ids[i].tolist() == row_ids + [1] * (ids.size(1) - n) and lengths[i] == n
        first = n - len(second) - 1
        assert segments[i].tolist() == [0] * first + [1] * (n - first) + [0] * (ids.size(1) - n)
    assert ids.dtype == segments.dtype == torch.int64 and ids.size(1) == int(lengths.max())


def test_seeds():
    a, b, c = (draw(CORPUS, 64, seed) for seed in (0, 0, 1))
    assert torch.equal(a.b_start, b.b_start) and torch.equal(a.a_len, b.a_len)
    firsts = [set(zip(x.a_start.tolist(), x.a_len.tolist(), strict=True)) for x in (a, c)]
    assert len(firsts[0] & firsts[1]) < 0.6 * len(a), "the next epoch cuts at the same places"


def test_one_document_is_more_than_half_of_the_corpus():
    corpus = numbered([[5] * 200, [5] * 12, [5] * 8])
    pairs = draw(corpus, 33)
    check(corpus, pairs, 33)


def test_documents_of_one_sentence_are_cut_inside_it_and_counted():
    corpus = numbered([[6], [1], [9], [2]])
    pairs = draw(corpus, 20)
    assert pairs.skipped == {TOO_SHORT: 1, CUT_INSIDE: 3, CUT_TO_FIT: pairs.skipped[CUT_TO_FIT]}
    check(corpus, pairs, 20)


def test_a_sentence_longer_than_a_row_is_cut():
    corpus = numbered([[100, 3], [50]])
    pairs = draw(corpus, 23)
    check(corpus, pairs, 23)
    assert len(pairs) >= 8


def test_corpora_without_pairs():
    with pytest.raises(ValueError, match="of 1 only 1 has two tokens or more; give at least two such documents"):
        draw(numbered([[3, 4, 5]]), 32)
    with pytest.raises(ValueError, match="of 2 only 0 has two tokens or more"):
        draw(numbered([[1], [1]]), 32)
    with pytest.raises(ValueError, match=r"length=4 has no room for .* take at least 5"):
        draw(CORPUS, 4)

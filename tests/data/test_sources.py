"""The three objectives' batches: what is in them, and that nothing of the data is missing."""

import os

import pytest
import torch
from small_corpus import CLS, FIRST, MASK, SEP, numbered, random_sizes
from tokenizers import Tokenizer, models, pre_tokenizers

from companion.data.corpus import encode_corpus
from companion.data.imdb import VARIABLE, load_imdb
from companion.data.sources import causal_stream, classification_stream, mlm_stream
from companion.data.tokenizer import SPECIAL_TOKENS, load_tokenizer
from companion.data.transforms import IGNORE

REAL = pytest.mark.skipif(not os.environ.get(VARIABLE), reason=f"{VARIABLE} is not set")
CORPUS = numbered(random_sizes(120))
PAD = 0


@pytest.fixture(scope="module")
def tokenizer():
    """Words w0, w1, ... are the ids from FIRST on: as many as the corpus has tokens."""
    words = [*SPECIAL_TOKENS, *(f"w{i}" for i in range(CORPUS.n_tokens))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def restored(batch):
    """The ids before they were masked."""
    return torch.where(batch.labels == IGNORE, batch.ids, batch.labels)


def test_masked_pairs(tokenizer):
    stream = mlm_stream(CORPUS, tokenizer, length=64, p=0.3, tokens_per_batch=1024)
    tokens, chosen, follow = 0, 0, []
    for batch in stream.once():
        ids = restored(batch)
        real = ids != PAD
        assert batch.padding is None or torch.equal(batch.padding, real)
        assert (ids[:, 0] == CLS).all() and ((ids == SEP).sum(1) == 2).all()
        assert ids.size(1) <= 64 and batch.ids.numel() <= 1024
        for row, segments, label in zip(ids, batch.segments, batch.next_labels, strict=True):
            first, second = (row == SEP).nonzero()[:, 0].tolist()
            assert segments.tolist() == [0] * (first + 1) + [1] * (second - first) + [0] * (len(row) - second - 1)
            # Ids count up over the whole corpus, so the next token is the next number.
            assert (row[first + 1] == row[first - 1] + 1) == (label == 0)
        tokens += int((ids >= FIRST).sum())
        chosen += int((batch.labels != IGNORE).sum())
        follow += batch.next_labels.tolist()
    assert tokens > 0.97 * CORPUS.n_tokens
    assert chosen / tokens == pytest.approx(0.3, abs=0.02)
    assert sum(follow) == len(follow) // 2


def test_pairs_and_masks_are_drawn_anew_in_each_epoch(tokenizer):
    stream = mlm_stream(CORPUS, tokenizer, length=64, tokens_per_batch=1024)
    epochs = [list(stream.once(epoch=epoch)) for epoch in (0, 0, 1)]
    rows = [{tuple(row) for batch in epoch for row in batch.ids.tolist()} for epoch in epochs]
    assert rows[0] == rows[1] and len(rows[0] & rows[2]) < 0.02 * len(rows[0])


def test_masked_blocks_without_pairs(tokenizer):
    stream = mlm_stream(CORPUS, tokenizer, length=50, next_sentence=False, tokens_per_batch=500)
    batches = list(stream.once())
    assert all(b.segments is None and b.next_labels is None and b.padding is None for b in batches)
    ids = torch.cat([restored(b) for b in batches])
    n = CORPUS.n_tokens + 2 * CORPUS.n_documents
    assert ids.shape == (n // 50, 50) and stream.real_share == 1.0
    words = ids[ids >= FIRST]
    assert len(words.unique()) == len(words) >= CORPUS.n_tokens - 50
    assert any((b.ids == MASK).any() for b in batches)


def test_next_tokens(tokenizer):
    stream = causal_stream(CORPUS, tokenizer, length=40, batch_size=8)
    batches = list(stream.once())
    order = torch.cat([b.rows for b in batches]).argsort()
    ids, labels = (torch.cat([getattr(b, name) for b in batches])[order].flatten() for name in ("ids", "labels"))
    assert torch.equal(labels[:-1], torch.where(ids[1:] == CLS, IGNORE, ids[1:])), "a label is not the next token"
    assert labels[-1] != PAD
    predicted = labels[labels >= FIRST]
    assert len(predicted.unique()) == len(predicted) >= CORPUS.n_tokens - 40
    assert all(b.padding is None and b.segments is None for b in batches)


def test_a_corpus_that_fills_no_block(tokenizer):
    with pytest.raises(ValueError, match=r"the documents have \d+ tokens, which fill no block of 99000"):
        next(causal_stream(CORPUS, tokenizer, length=99_000, batch_size=1))


def texts(sizes):
    return [" ".join(f"w{i}" for i in range(n)) for n in sizes]


@pytest.mark.parametrize(
    ("keep", "kept"),
    [("head", [*range(8)]), ("tail", [*range(4, 12)]), ("both", [0, 1, *range(6, 12)])],
)
def test_classes_and_what_is_kept_of_a_long_text(tokenizer, keep, kept):
    sizes, classes = [3, 12, 1, 8], [2, 0, 1, 0]
    stream = classification_stream(texts(sizes), classes, tokenizer, max_len=10, keep=keep, batch_size=4)
    batch = next(stream)
    assert batch.labels is None and batch.segments is None
    assert batch.classes.tolist() == [classes[row] for row in batch.rows.tolist()]
    for row, ids, real in zip(batch.rows.tolist(), batch.ids, batch.padding, strict=True):
        words = [FIRST + i for i in ({3: range(3), 12: kept, 1: [0], 8: range(8)}[sizes[row]])]
        assert ids.tolist() == [CLS, *words, SEP] + [PAD] * (10 - 2 - len(words))
        assert int(real.sum()) == len(words) + 2


def test_of_a_long_text_each_epoch_reads_one_window(tokenizer):
    stream = classification_stream(texts([20, 3, 8]), [1, 0, 1], tokenizer, max_len=10, keep="windows", batch_size=2)
    seen = set()
    for epoch in range(12):
        batches = list(stream.once(epoch=epoch))
        assert sorted(row for batch in batches for row in batch.rows.tolist()) == [0, 1, 2]
        for batch in batches:
            assert batch.classes.tolist() == [1 - row % 2 for row in batch.rows.tolist()]
            for row, ids in zip(batch.rows.tolist(), batch.ids.tolist(), strict=True):
                if row == 0:
                    assert len(ids) == 10 and ids[-1] == SEP and ids[8] == ids[1] + 7
                    seen.add(ids[1] - FIRST)
    assert seen == {0, 6, 12}
    assert [b.ids.tolist() for b in stream.once(epoch=3)] == [b.ids.tolist() for b in stream.once(epoch=3)]


def test_texts_that_cannot_be_classified(tokenizer):
    options = {"tokenizer": tokenizer, "max_len": 8, "batch_size": 2}
    with pytest.raises(ValueError, match="2 texts and 1 labels; give one for each"):
        classification_stream(texts([1, 2]), [0], **options)
    with pytest.raises(ValueError, match="0 texts and 0 labels"):
        classification_stream([], [], **options)
    with pytest.raises(ValueError, match="max_len=2 has no room"):
        classification_stream(texts([1]), [0], **{**options, "max_len": 2})
    with pytest.raises(
        ValueError, match=r"keep='middle' is not known; choose one of \['head', 'tail', 'both', 'windows'\]"
    ):
        classification_stream(texts([1]), [0], keep="middle", **options)
    with pytest.raises(ValueError, match="2 texts have no token, the first is number 1"):
        classification_stream(["w0", "", " "], [0, 1, 1], **options)
    with pytest.raises(ValueError, match="labels must be whole numbers from 0; the first that is not is -1, of text 1"):
        classification_stream(texts([1, 1]), [0, -1], **options)


@REAL
def test_imdb_batches_are_real_tokens():
    book = load_tokenizer()
    reviews = load_imdb("train", limit=1000)
    corpus = encode_corpus(reviews.texts, book)
    assert mlm_stream(corpus, book, length=128, tokens_per_batch=4096).real_share > 0.98
    classes = classification_stream(reviews.texts, reviews.labels, book, max_len=512, tokens_per_batch=2048)
    assert classes.real_share > 0.98

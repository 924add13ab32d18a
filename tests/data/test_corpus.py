"""Corpora: nothing is lost between texts, ids, parts and files."""

import json
from itertools import pairwise

import pytest
import torch
from small_corpus import numbered, random_sizes
from tokenizers import Tokenizer, models, pre_tokenizers

from companion.data import corpus as corpora
from companion.data.corpus import TokenCorpus, encode_corpus, held_out_documents


@pytest.fixture(scope="module")
def letters():
    """A tokenizer whose pieces are single letters."""
    pieces = {c: i for i, c in enumerate("?abcdefgh.")}
    tokenizer = Tokenizer(models.WordLevel(pieces, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return tokenizer


def as_lists(corpus):
    """Documents as lists of sentences as lists of ids."""
    starts = [0, *corpus.sentence_ends.tolist()]
    sentences = [(e, corpus.ids[s:e].tolist()) for s, e in pairwise(starts)]
    starts = [0, *corpus.document_ends.tolist()]
    return [[ids for end, ids in sentences if s < end <= e] for s, e in pairwise(starts)]


def test_texts_become_documents_of_sentences(letters):
    corpus = encode_corpus(["Ab. Cd\ne.", "", "H", " \n"], letters, skipped={"empty documents": 3})
    assert as_lists(corpus) == [[[0, 2, 9], [0, 4], [5, 9]], [[0]]]
    assert corpus.ids.dtype == torch.int32 and corpus.sentence_ends.dtype == torch.int64
    assert corpus.counts() == {
        "documents": 2,
        "sentences": 4,
        "tokens": 8,
        "skipped": {"empty documents": 3, "documents without tokens": 2},
    }


def test_more_texts_than_are_encoded_at_once(letters, monkeypatch):
    monkeypatch.setattr(corpora, "_TEXTS_AT_ONCE", 4)
    texts = [f"{'ab'[i % 2]}. {'Cd' * (i % 3)}" for i in range(11)]
    one_by_one = [as_lists(encode_corpus([text], letters))[0] for text in texts]
    assert as_lists(encode_corpus(texts, letters)) == one_by_one


def test_no_text_at_all(letters):
    for texts in ([], [""]):
        with pytest.raises(ValueError, match="no document has a token; is the corpus empty"):
            encode_corpus(texts, letters)


def test_sentences_and_documents_without_tokens_are_left_out():
    corpus = TokenCorpus.from_documents([[[], [5], []], [[]], [], [[6, 7], [8]]])
    assert as_lists(corpus) == [[[5]], [[6, 7], [8]]]
    assert corpus.skipped == {"documents without tokens": 2}


@pytest.mark.parametrize(
    ("sentence_ends", "document_ends"), [([2, 5], [5, 6]), ([2, 6], [3, 6]), ([3, 2, 6], [6]), ([0, 6], [6]), ([], [])]
)
def test_ends_that_do_not_fit(sentence_ends, document_ends):
    with pytest.raises(ValueError, match=r"must increase|ends inside a sentence"):
        TokenCorpus(torch.arange(6, dtype=torch.int32), torch.tensor(sentence_ends), torch.tensor(document_ends))


def test_parts_of_a_corpus():
    corpus = numbered(random_sizes(31))
    documents = as_lists(corpus)
    order = [7, 0, 30, 7]
    assert as_lists(corpus.select(torch.tensor(order))) == [documents[d] for d in order]
    train, held_out = corpus.split(0.2, seed=3)
    chosen = held_out_documents(31, 0.2, seed=3)
    assert as_lists(held_out) == [documents[d] for d in chosen] and len(chosen) == 6
    assert as_lists(train) == [document for d, document in enumerate(documents) if d not in chosen]
    assert held_out_documents(31, 0.2, seed=4) != chosen
    for share in (0.0, 0.01, 0.99, 1.0):
        with pytest.raises(ValueError, match=f"holding out {share} of 31 documents leaves one side empty"):
            corpus.split(share)


def test_saved_and_loaded(tmp_path):
    corpus = numbered(random_sizes(9))
    corpus.save(tmp_path / "new")
    loaded = TokenCorpus.load(tmp_path / "new")
    assert as_lists(loaded) == as_lists(corpus) and loaded.counts() == corpus.counts()


def test_files_that_are_missing_damaged_or_of_another_corpus(tmp_path):
    with pytest.raises(ValueError, match=r"holds no corpus\.safetensors; make it with: companion data"):
        TokenCorpus.load(tmp_path)
    numbered(random_sizes(9)).save(tmp_path)
    counts, tensors = tmp_path / "corpus.json", tmp_path / "corpus.safetensors"
    counts.write_text(json.dumps({**json.loads(counts.read_text(encoding="utf-8")), "tokens": 3}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"corpus\.json in .* is of another corpus"):
        TokenCorpus.load(tmp_path)
    tensors.write_bytes(tensors.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"the corpus in .* is damaged \(.*\); make it again"):
        TokenCorpus.load(tmp_path)

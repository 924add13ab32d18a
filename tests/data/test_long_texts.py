"""Windows cover a text, and the batches of passages hold every one of them once."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from companion.data.long_texts import Passages
from companion.data.passages import passages
from companion.data.tokenizer import load_tokenizer

TEXTS = ["a good film", "film " * 40, "bad", "the film was " * 9]
LENGTHS = [3, 40, 1, 27]


@given(st.integers(1, 200), st.integers(1, 50))
def test_windows_cover_the_text_evenly(n, room):
    ids = list(range(n))
    windows = passages(ids, room, "windows")
    assert {i for window in windows for i in window} == set(ids)
    assert len(windows) == -(-n // room)
    if n > room:
        starts = [window[0] for window in windows]
        gaps = [b - a for a, b in pairwise(starts)]
        assert all(len(window) == room for window in windows) and max(gaps) - min(gaps) <= 1
        assert windows[0][0] == 0 and windows[-1][-1] == n - 1


@given(st.integers(1, 60), st.integers(1, 50), st.sampled_from(["head", "tail", "both"]))
def test_one_passage_has_what_there_is_room_for(n, room, keep):
    ids = list(range(n))
    (kept,) = passages(ids, room, keep)
    assert len(kept) == min(n, room) and kept == sorted(set(kept))
    if n > room:
        head = {"head": room, "tail": 0, "both": room // 4}[keep]
        assert kept == ids[:head] + ids[n - (room - head) :]


def test_every_passage_is_in_one_batch_with_the_number_of_its_text():
    tokenizer = load_tokenizer()
    cut = Passages(TEXTS, tokenizer, max_len=12, keep="windows")
    assert cut.tokens.tolist() == [n + 2 for n in LENGTHS]
    batches = cut.batches(30)
    windows = [-(-n // 10) for n in LENGTHS]
    assert torch.cat([b.rows for b in batches]).bincount().tolist() == windows
    assert all(b.ids.numel() <= 30 for b in batches)
    whole = Passages(TEXTS, tokenizer, max_len=50, keep="windows").batches(10_000)
    for row, ids, real in zip(whole[0].rows.tolist(), whole[0].ids, whole[0].padding, strict=True):
        assert ids[real].tolist() == tokenizer.encode(TEXTS[row]).ids
    assert len(Passages(TEXTS, tokenizer, max_len=12, keep="head").batches(1)) == 4  # at least one a batch


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        ("head", "2 of 4 texts are longer than the model reads (25 tokens); the beginning is read"),
        ("tail", "2 of 4 texts are longer than the model reads (25 tokens); the end is read"),
        ("both", "2 of 4 texts are longer than the model reads (25 tokens); beginning and end are read"),
        ("windows", ""),  # all of it is read
    ],
)
def test_how_many_texts_are_read_in_part(keep, words):
    tokenizer = load_tokenizer()
    assert Passages(TEXTS, tokenizer, max_len=27, keep=keep).said_of_longer() == words
    assert not Passages(TEXTS, tokenizer, max_len=42, keep=keep).said_of_longer()  # the longest just fits
    one = Passages(TEXTS, tokenizer, max_len=41, keep=keep).said_of_longer()
    assert one.startswith("1 of 4 texts is longer") == bool(words)


@pytest.mark.parametrize(
    ("texts", "unknown", "share"), [(["a good 😀 film", "bad"], 1, ""), (["बहुत", "bad"], 1, "50 %")]
)
def test_texts_that_the_tokenizer_does_not_know_are_said_with_a_way_out(texts, unknown, share):
    cut = Passages(texts, load_tokenizer(), max_len=12, keep="both")
    said = cut.said_of_unknown()
    assert cut.unknown == unknown and said.startswith(share) and bool(share) == bool(said)
    assert not said or said.endswith("--set model.pretrained=MODEL --set data.tokenizer=CORPUS")


def test_what_cannot_be_cut():
    tokenizer = load_tokenizer()
    for texts, max_len, keep, words in (
        ([], 8, "head", "there is no text"),
        (["a", "\u200b"], 8, "head", "1 texts have no token, the first is number 1"),
        (["a"], 2, "head", "max_len=2 has no room"),
        (["a"], 8, "middle", "keep='middle' is not known"),
    ):
        with pytest.raises(ValueError, match=words):
            Passages(texts, tokenizer, max_len=max_len, keep=keep)

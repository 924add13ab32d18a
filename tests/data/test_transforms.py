"""Masking by the counts of Devlin et al., and blocks that lose nothing."""

import math

import pytest
import torch
from small_corpus import CLS, FIRST, MASK, SEP, numbered, random_sizes

import companion
from companion.data import transforms
from companion.data.transforms import IGNORE, mask_tokens, pack_blocks

V = 50
SPECIAL = range(FIRST)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def within(count, n, p, sigmas=4.5):
    """Whether a binomial count is no farther from its mean than chance allows (4.5 standard deviations: 7e-6)."""
    return abs(count - n * p) <= sigmas * math.sqrt(n * p * (1 - p))


@pytest.fixture(scope="module")
def masked():
    ids = torch.randint(0, V, (400, 300), generator=generator(1))
    before = ids.clone()
    inputs, labels = mask_tokens(ids, mask_id=MASK, vocab_size=V, special=SPECIAL, p=0.2, generator=generator())
    assert torch.equal(ids, before), "the ids were edited"
    return ids, inputs, labels


def test_the_shares_of_the_paper(masked):
    ids, inputs, labels = masked
    chosen = labels != IGNORE
    ordinary, n = int((ids >= FIRST).sum()), int(chosen.sum())
    assert within(n, ordinary, 0.2)
    assert within(int((inputs[chosen] == MASK).sum()), n, 0.8)
    kept = inputs[chosen] == ids[chosen]  # one in ten stays, and one random token in 45 is the old one
    assert within(int(kept.sum()), n, 0.1 + 0.1 / (V - FIRST))
    replaced = inputs[chosen][~kept & (inputs[chosen] != MASK)]
    assert within(len(replaced), n, 0.1 - 0.1 / (V - FIRST))
    seen = torch.bincount(replaced, minlength=V)[FIRST:]
    assert all(within(int(k), len(replaced), 1 / (V - FIRST)) for k in seen), "a token is preferred"


def test_special_tokens_are_never_chosen_and_never_put_in(masked):
    ids, inputs, labels = masked
    special = ids < FIRST
    assert torch.equal(inputs[special], ids[special]) and (labels[special] == IGNORE).all()
    assert (inputs[~special] >= MASK).all()


def test_labels_are_the_tokens_and_all_else_stays(masked):
    ids, inputs, labels = masked
    chosen = labels != IGNORE
    assert torch.equal(labels[chosen], ids[chosen]) and torch.equal(inputs[~chosen], ids[~chosen])


def test_every_position_is_as_likely(masked):
    ids, _, labels = masked
    for dim in (0, 1):
        chosen, n = (labels != IGNORE).sum(dim), (ids >= FIRST).sum(dim)
        assert all(within(int(k), int(m), 0.2) for k, m in zip(chosen, n, strict=True))


def test_the_generator_decides():
    ids = torch.arange(FIRST, V, dtype=torch.int32)
    a, b, c = (
        mask_tokens(ids, mask_id=MASK, vocab_size=V, special=SPECIAL, p=0.5, generator=generator(s)) for s in (0, 0, 1)
    )
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) and not torch.equal(a[1], c[1])
    assert a[0].dtype == a[1].dtype == torch.int32


def test_all_and_none():
    ids = torch.arange(0, 20).view(4, 5)
    _, labels = mask_tokens(ids, mask_id=MASK, vocab_size=20, special=SPECIAL, p=1.0, generator=generator())
    assert (labels == torch.where(ids >= FIRST, ids, IGNORE)).all()
    inputs, labels = mask_tokens(ids % FIRST, mask_id=MASK, vocab_size=20, special=SPECIAL, generator=generator())
    assert torch.equal(inputs, ids % FIRST) and (labels == IGNORE).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": torch.rand(3)}, "ids must be int32 or int64; got torch.float32"),
        ({"p": 0.0}, r"p=0.0 must be in \(0, 1\]"),
        ({"p": 1.5}, r"p=1.5 must be in \(0, 1\]"),
        ({"special": [0, 20]}, r"special=\[0, 20\] and mask_id=4 must be ids below vocab_size=20"),
        ({"mask_id": -1}, "mask_id=-1 must be ids below"),
        ({"special": range(20)}, "all 20 tokens are special, so none can be put in"),
    ],
)
def test_arguments_that_make_no_sense(change, message):
    arguments = {"ids": torch.arange(9), "mask_id": MASK, "vocab_size": 20, "special": SPECIAL, **change}
    with pytest.raises(ValueError, match=message):
        mask_tokens(arguments.pop("ids"), **arguments)


def test_the_label_that_losses_leave_out():
    assert transforms.IGNORE == companion.IGNORE


@pytest.mark.parametrize("length", [1, 7, 64])
def test_blocks_hold_every_document_whole_and_in_order(length):
    corpus = numbered(random_sizes(23))
    row = [i for d in corpus.documents() for i in (CLS, *d.tolist(), SEP)]
    blocks = pack_blocks(corpus, length, cls_id=CLS, sep_id=SEP)
    assert blocks.shape == (len(row) // length, length)
    assert blocks.flatten().tolist() == row[: len(row) // length * length]


def test_shuffled_blocks_hold_the_same_documents():
    corpus = numbered(random_sizes(23))
    blocks = [pack_blocks(corpus, 1, cls_id=CLS, sep_id=SEP, generator=generator(s)).flatten() for s in (0, 0, 1)]
    assert torch.equal(blocks[0], blocks[1]) and not torch.equal(blocks[0], blocks[2])
    assert sorted(blocks[0].tolist()) == sorted(pack_blocks(corpus, 1, cls_id=CLS, sep_id=SEP).flatten().tolist())
    ends = (blocks[0] == SEP).nonzero()[:, 0] + 1
    found = {tuple(d.tolist()) for d in torch.tensor_split(blocks[0], ends[:-1])}
    assert found == {(CLS, *d.tolist(), SEP) for d in corpus.documents()}


def test_too_little_for_a_block():
    with pytest.raises(ValueError, match="the documents have 5 tokens, which fill no block of 6"):
        pack_blocks([[[7, 8], [9]]], 6, cls_id=CLS, sep_id=SEP)

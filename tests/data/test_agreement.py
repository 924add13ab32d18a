"""The language of agreement: what it says about its verbs is true, and it needs order."""

import random

import pytest
import torch

from companion.data.agreement import (
    ADVERBS,
    PLURAL_NOUNS,
    PLURAL_VERBS,
    PREPOSITIONS,
    SINGULAR_NOUNS,
    SINGULAR_VERBS,
    VOCABULARY,
    agreement_ids,
    agreement_texts,
    agreement_words,
    nearest_noun_is_plural,
    predicts_plural,
)

NOUNS, VERBS = SINGULAR_NOUNS + PLURAL_NOUNS, SINGULAR_VERBS + PLURAL_VERBS


def parse(words: list[str]) -> list[int]:
    """For each word how far back its subject stands: an independent reader of the grammar, with a stack of subjects."""
    gaps, open_subjects, before = [], [], ""
    for i, word in enumerate(words):
        gap = 0
        if word in NOUNS:
            if before in ("<s>", ".", "that"):
                open_subjects.append(i)
            else:
                assert before in PREPOSITIONS
        elif word in VERBS:
            gap = i - open_subjects.pop()
            assert (words[i - gap] in PLURAL_NOUNS) == (word in PLURAL_VERBS)
        elif word == ".":
            assert before in VERBS and not open_subjects
        elif word == "that":
            assert open_subjects
        else:
            assert word == "<s>" or word in PREPOSITIONS + ADVERBS
        gaps.append(gap)
        before = word
    return gaps


@pytest.mark.parametrize(("length", "longest", "depth"), [(32, None, 2), (64, 16, 3), (128, 128, 1), (4, None, 2)])
def test_an_independent_parser_finds_the_same_subjects(length, longest, depth):
    texts = agreement_texts(50, length, longest=longest, max_depth=depth, generator=random.Random(0))
    assert texts.ids.shape == texts.gap.shape == texts.plural.shape == (50, length)
    for ids, gap in zip(texts.ids, texts.gap, strict=True):
        assert parse(agreement_words(ids).split()) == gap.tolist()


def test_plural_marks_the_plural_verbs_and_nothing_else():
    texts = agreement_texts(50, 32, generator=random.Random(0))
    plural = {i for i, word in enumerate(VOCABULARY) if word in PLURAL_VERBS}
    assert torch.equal(texts.plural, torch.tensor([[int(i) in plural for i in row] for row in texts.ids]))
    assert not texts.plural[~texts.is_verb].any()
    assert 0.4 < texts.plural[texts.is_verb].double().mean() < 0.6


def test_sentences_are_no_longer_than_asked_but_reach_it():
    texts = agreement_texts(400, 64, longest=12, generator=random.Random(0))
    sentences = [s.split() for row in texts.ids for s in agreement_words(row[1:]).split(" .")[:-1]]
    lengths = [len(s) + 1 for s in sentences]
    assert (min(lengths), max(lengths)) == (3, 12)
    short = sum(n < 6 for n in lengths) / len(lengths)
    assert 0.4 < short < 0.6  # log-uniform on 3..12: each doubling is equally likely


def test_depth_one_has_no_inner_clauses():
    texts = agreement_texts(50, 64, max_depth=1, generator=random.Random(0))
    assert not (texts.ids == VOCABULARY.index("that")).any()


def test_a_seed_gives_a_text_and_another_seed_another():
    one, same, other = (agreement_texts(3, 40, generator=random.Random(s)).ids for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_only_random_is_called():
    class OnlyRandom(random.Random):
        def getrandbits(self, k):
            raise AssertionError("its sequence may change between versions of Python")

    agreement_texts(5, 64, generator=OnlyRandom(0))


def test_the_nearest_noun_is_a_coin_toss_for_far_subjects():
    texts = agreement_texts(2000, 32, generator=random.Random(0))
    right = nearest_noun_is_plural(texts.ids) == texts.plural
    assert right[texts.gap == 1].all()
    assert abs(right[texts.gap > 4].double().mean() - 0.5) < 0.05


def test_so_is_the_majority_of_nouns_so_far():
    """A bag of words fails: more plural than singular nouns before the verb."""
    texts = agreement_texts(2000, 32, generator=random.Random(0))
    first, middle, last = (VOCABULARY.index(w[0]) for w in (SINGULAR_NOUNS, PLURAL_NOUNS, SINGULAR_VERBS))
    sign = ((texts.ids >= middle) & (texts.ids < last)).int() - ((texts.ids >= first) & (texts.ids < middle)).int()
    right = ((sign.cumsum(dim=1) > 0) == texts.plural)[texts.is_verb]
    assert right.double().mean() < 0.75


def test_the_nearest_noun_by_hand():
    ids = agreement_ids("<s> cat near cars stops .")[None]
    assert nearest_noun_is_plural(ids)[0].tolist() == [False, False, False, False, True, True]


def test_predicts_plural_adds_the_verbs_of_a_number():
    logits = torch.full((2, len(VOCABULARY)), -9.0)
    logits[0, VOCABULARY.index("stops")] = 1.0
    logits[0, [VOCABULARY.index(w) for w in ("stop", "move", "turn")]] = 0.5  # three together outweigh one
    logits[1, VOCABULARY.index("stops")] = 1.0
    assert predicts_plural(logits).tolist() == [True, False]


def test_words_and_ids_are_inverse():
    assert agreement_words(agreement_ids(" ".join(VOCABULARY))) == " ".join(VOCABULARY)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: agreement_texts(0, 32, generator=g), "n=0 texts"),
        (lambda g: agreement_texts(1, 3, generator=g), "length=3 has no room"),
        (lambda g: agreement_texts(1, 32, longest=2, generator=g), "longest=2 has no room"),
        (lambda g: agreement_texts(1, 32, max_depth=0, generator=g), "max_depth=0"),
        (lambda g: predicts_plural(torch.zeros(3)), "got 3 logits"),
        (lambda g: agreement_ids("<s> cow stops"), "'cow' is not a word"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(random.Random(0))

"""The mini reviews: the same for a seed, balanced word by word, new in the test, and very many."""

import dataclasses
import hashlib
import itertools
import random
import re
from collections import Counter

import pytest

import companion
from companion.data.mini_reviews import draw_reviews, mini_reviews
from companion.data.mini_reviews_grammar import (
    PATTERNS,
    PLAIN,
    SIDES,
    SPLITS,
    Grammar,
    count_reviews,
    grammar,
    tokens,
)

WORD = re.compile(r"[a-z'-]+")
# Stand among the content words ("a family and its secrets"), but are none.
FUNCTION_WORDS = {"a", "and", "at", "every", "film", "for", "go", "its", "of", "other", "the"}


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def templates(rules: Grammar) -> list[str]:
    """Every line of a split but the ways to join halves, which are patterns of marks, not sentences."""
    groups = [group for name in rules.verdicts for group in rules.verdicts[name]]
    lines = [join for group in groups for join in group.joins if not {"aside", "held"} & {t.slot for t in tokens(join)}]
    lines += [half for group in groups for halves in group.halves.values() for half in halves]
    return lines + [line for lines in [*rules.fillers.values(), *rules.phrases.values()] for line in lines]


def content_words(rules: Grammar) -> set[str]:
    lists = [options for topic in rules.topics for options in topic.values()]
    lists += [*rules.once.values(), *rules.parts.values()]
    lists += [rules.judging["mixed"][kind][0] for kind in ("rival", "evening")]
    return {word for options in lists for text in options for word in words(text)} - FUNCTION_WORDS


def test_a_seed_gives_the_same_reviews_everywhere():
    reviews = mini_reviews(200, seed=5)
    digest = hashlib.sha256("\n".join(reviews.texts).encode()).hexdigest()
    assert digest == "7f84ec7001697dbe11b1f1af3a112b231c713a61694eb7347639f77af63ebba8"
    assert mini_reviews(200, seed=5) == reviews != mini_reviews(200, seed=6)
    assert mini_reviews(50, seed=5).texts == reviews.texts[:50]  # asking for more changes nothing


def test_only_random_is_called():
    class OnlyRandom(random.Random):
        def getrandbits(self, k):
            raise AssertionError("its sequence may change between versions of Python")

    draw_reviews(grammar("train"), 50, generator=OnlyRandom(0))


@pytest.mark.parametrize("split", SPLITS)
def test_one_to_four_sentences_of_15_to_60_words(split):
    reviews = mini_reviews(2000, split=split)
    lengths = [len(text.split()) for text in reviews.texts]
    assert (min(lengths), max(lengths)) == (15, 60)
    ends = Counter(len(re.findall(r"[.]", text)) for text in reviews.texts)
    assert set(ends) == {1, 2, 3, 4} and min(ends.values()) > 30
    for text, verdict in zip(reviews.texts, reviews.verdicts, strict=True):
        assert verdict in text and verdict.endswith(".")
        assert all(sentence[0].isupper() for sentence in text.split(". ")) and "{" not in text and "  " not in text
        assert not re.search(r"\ba [aeiou]|\b(\w+) \1\b", text), text  # "a awful film", "the the"


@pytest.mark.parametrize("split", SPLITS)
def test_twins_have_the_same_words_and_opposite_labels(split):
    """So every count of words gives both the same score, and is right for exactly one of them."""
    reviews = mini_reviews(2000, seed=3, split=split, twins=True)
    for one, other in zip(range(0, 2000, 2), range(1, 2000, 2), strict=True):
        assert sorted(words(reviews.texts[one])) == sorted(words(reviews.texts[other]))
        assert reviews.labels[one] == 1 - reviews.labels[other]
        assert reviews.texts[one] != reviews.texts[other]
        assert reviews.constructions[one] == reviews.constructions[other] != PLAIN


def expansions(rules: Grammar, line: str, halves: dict, role: str = ""):
    """The judging slots of a line, whichever phrases stand in it: sets of (kind, role)."""
    options = []
    for _, slot, own, _ in tokens(line):
        inner = own or role
        if slot in halves or slot in rules.phrases:
            lines = halves.get(slot) or rules.phrases[slot]
            options.append({found for line in lines for found in expansions(rules, line, halves, inner)})
        elif slot in rules.judging["mixed"]:
            options.append({((slot, inner),)})
    return {tuple(itertools.chain(*chosen)) for chosen in itertools.product(*options)}


@pytest.mark.parametrize("split", SPLITS)
def test_a_verdict_sets_one_word_aside_and_asserts_one_of_its_kind(split):
    rules = grammar(split)
    for name, groups in rules.verdicts.items():
        for group in groups:
            for join in group.joins:
                for found in expansions(rules, join, group.halves):
                    aside, held = (sorted(kind for kind, role in found if role == r) for r in ("no", "yes"))
                    assert len(aside) + len(held) == len(found) and len(set(held)) == len(held), (name, join)
                    if name == PLAIN:
                        assert len(found) == 1
                    else:
                        assert found and aside == held, (name, join)


@pytest.mark.parametrize("split", SPLITS)
def test_opinions_of_others_come_in_both_polarities(split):
    for line in grammar(split).fillers["mixed"]:
        ((one, other),) = expansions(grammar(split), line, {})
        assert {one[1], other[1]} == {"a", "b"} and one[0] == other[0]
    assert SIDES["a"] == SIDES["b"][::-1] and SIDES["yes"] == SIDES["no"][::-1] == (0, 1)


def test_the_splits_share_no_sentence_and_no_content_word():
    train, test = grammar("train"), grammar("test")
    shared = set(templates(train)) & set(templates(test))
    assert shared == {"{clause}", "{part}"}  # of which {said} is made
    for name in test.verdicts:  # nor, in a construction with halves, a way to join them
        ways = [{join for group in rules.verdicts[name] for join in group.joins} for rules in (train, test)]
        assert not ways[0] & ways[1], name
    assert not content_words(train) & content_words(test)
    assert not content_words(test) & {w for text in mini_reviews(3000, seed=1).texts for w in words(text)}
    assert [*test.verdicts, PLAIN] == list(train.verdicts)


def test_the_test_shows_no_judging_word_where_training_showed_it():
    train, test = grammar("train"), grammar("test")
    for name in test.verdicts:
        for kind in ("adj", "noun", "verb"):
            for label in (0, 1):
                mine, theirs = test.judging[name][kind][label], train.judging[name][kind][label]
                assert mine and len(mine) * 3 == len(theirs) and not set(mine) & set(theirs)


def test_all_that_the_test_says_can_be_learned():
    """Its words but the new content words stand in training; those that judge, in plain verdicts too."""
    train = mini_reviews(8000, seed=1)
    known = {word for text in train.texts for word in words(text)}
    new = {word for text in mini_reviews(4000, seed=1, split="test").texts for word in words(text)} - known
    assert new <= content_words(grammar("test"))
    plain = [i for i, name in enumerate(train.constructions) if name == PLAIN]
    shown = {word for i in plain for word in words(train.verdicts[i])}
    for kind in ("adj", "noun", "verb"):
        for polarity in (0, 1):
            assert set(grammar("train").judging[PLAIN][kind][polarity]) <= shown
    assert 0.35 < len(plain) / len(train) < 0.4
    assert PLAIN not in mini_reviews(2000, split="test").constructions


@pytest.mark.parametrize("split", SPLITS)
def test_labels_and_constructions_are_even(split):
    reviews = mini_reviews(3000, seed=2, split=split)
    assert abs(sum(reviews.labels) / 3000 - 0.5) < 0.03
    counts = Counter(name for name in reviews.constructions if name != PLAIN)
    assert len(counts) == 11 and min(counts.values()) > 0.4 * max(counts.values())
    for name in counts:  # within a construction, too
        labels = [label for label, found in zip(reviews.labels, reviews.constructions, strict=True) if found == name]
        assert abs(sum(labels) / len(labels) - 0.5) < 0.15


def test_a_review_is_about_one_film():
    rules = grammar("train")
    genre_of = {word: topic["genre"][0] for topic in rules.topics for options in topic.values() for word in options}
    directors = set(rules.once["director"])
    named = 0
    for text in mini_reviews(500, seed=4).texts:
        found = re.findall(r"[A-Za-z'-]+", text)
        assert len({genre_of[word] for word in found if word in genre_of}) <= 1
        assert len(directors & set(found)) <= 1
        named += any(word in genre_of for word in found)
    assert named > 300


def cut(rules: Grammar, name: str, which: slice) -> Grammar:
    """A grammar small enough to write out: one construction's first group, one topic, two words of each kind."""
    group = rules.verdicts[name][0]
    return dataclasses.replace(
        rules,
        patterns=PATTERNS[:3],
        verdicts={name: [group._replace(joins=group.joins[:2], halves={k: v[which] for k, v in group.halves.items()})]},
        fillers={kind: lines[:2] for kind, lines in rules.fillers.items()},
        phrases={slot: lines[:2] for slot, lines in rules.phrases.items()},
        judging={
            key: {k: (bad[:2], good[:2]) for k, (bad, good) in kinds.items()} for key, kinds in rules.judging.items()
        },
        topics=[{slot: options[:2] for slot, options in topic.items()} for topic in rules.topics[:2]],
        once={slot: options[:2] for slot, options in rules.once.items()},
        parts={slot: options[:2] for slot, options in rules.parts.items()},
        plain=0.0,
    )


def write_out(rules: Grammar) -> set[tuple[str, int]]:
    """All reviews and labels of a small grammar: an independent writer, which substitutes one slot after the other."""
    slot = re.compile(r"\{(\w+)(?::(\w+))?\}")
    (name,) = rules.verdicts
    found = set()

    def fill(text: str, options: dict, label: int, judging: dict):
        match = slot.search(text)
        if match is None:
            yield text
            return
        key, role = match[1], match[2] or ""
        if key in judging:
            choices = judging[key][SIDES[role][label]]
        else:
            choices = [re.sub(r"\{(\w+)\}", rf"{{\1:{role}}}" if role else r"{\1}", line) for line in options[key]]
        for choice in choices:
            # What is chosen once is put in everywhere, the rest where it stands.
            is_once = key in rules.once or key in rules.topics[0]
            filled = (
                slot.sub(lambda m, k=key, c=choice: c if m[1] == k else m[0], text)
                if is_once
                else text[: match.start()] + choice + text[match.end() :]
            )
            yield from fill(filled, options, label, judging)

    for pattern, topic, label in itertools.product(rules.patterns, rules.topics, (0, 1)):
        (group,) = rules.verdicts[name]
        options = {**rules.phrases, **group.halves, **rules.once, **rules.parts, **topic}
        choices = [group.joins if kind == "verdict" else rules.fillers[kind] for kind in pattern]
        for chosen in itertools.product(*choices):
            for text in fill(" ".join(chosen), options, label, rules.judging[name]):
                if 15 <= len(text.split()) <= 60:
                    found.add((text, label))
    return found


@pytest.mark.parametrize(("split", "name"), [("train", "hedging"), ("test", "change of mind")])
def test_the_count_is_that_of_the_distinct_reviews_written_out(split, name):
    rules = cut(grammar(split), name, slice(0, 2))
    assert count_reviews(rules) == len(write_out(rules)) > 1000


@pytest.mark.parametrize(("split", "at_least", "repeats"), [("train", 10**17, 8), ("test", 10**13, 8)])
def test_there_are_more_than_a_million_reviews(split, at_least, repeats):
    assert count_reviews(grammar(split)) > at_least
    texts = mini_reviews(4000, seed=9, split=split).texts
    # Of a million equally likely texts, 4000 draws would repeat 8.
    assert len(texts) - len(set(texts)) < repeats


def test_it_is_public():
    assert companion.mini_reviews is mini_reviews


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mini_reviews(0), "n=0 reviews"),
        (lambda: mini_reviews(3, twins=True), "n=3 reviews are no pairs"),
        (lambda: mini_reviews(3, split="validation"), "split='validation' is not known"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""The grammar of the mini reviews: its sentences in ``mini_reviews.toml``, its words in ``mini_reviews_words.toml``."""

import math
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple

from companion.errors import require

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
#: words of a bad review, words of a good one: the index is the label
Pairs = tuple[tuple[str, ...], tuple[str, ...]]

SHORTEST, LONGEST = 15, 60  #: words of a review
PLAIN = "plain"  #: the verdicts that say one thing only
PLAIN_SHARE = 0.4  #: of the drafts for training

#: Which sentences make a review. One of them is the verdict, and it alone decides.
PATTERNS: tuple[tuple[str, ...], ...] = (
    ("verdict",),
    ("opening", "verdict"),
    ("verdict", "scene"),
    ("scene", "verdict"),
    ("mixed", "verdict"),
    ("verdict", "mixed"),
    ("opening", "scene", "verdict"),
    ("opening", "verdict", "scene"),
    ("opening", "verdict", "mixed"),
    ("opening", "scene", "mixed", "verdict"),
)
#: Polarity (0 bad, 1 good) of a slot's role, by the label in a verdict and by a toss of a coin elsewhere.
SIDES: dict[str, tuple[int, int]] = {"no": (1, 0), "yes": (0, 1), "a": (0, 1), "b": (1, 0)}

_SLOT = re.compile(r"(\S*)\{(\w+)(?::(\w+))?\}(\S*)")


class Token(NamedTuple):
    """One place of a template: a word (then ``slot`` is empty), or a slot with what is attached to it."""

    before: str
    slot: str = ""
    role: str = ""
    after: str = ""


class Verdicts(NamedTuple):
    """Sentences of one kind: each of ``joins`` with each of the halves that its slots name."""

    joins: tuple[str, ...]
    halves: Mapping[str, tuple[str, ...]]

    @property
    def weight(self) -> int:
        """How often these are drawn, beside others of their construction: as often as there are lines to show."""
        return sum(map(len, self.halves.values())) or len(self.joins)


@dataclass(frozen=True)
class Grammar:
    """What the reviews of one split are drawn from.

    Attributes:
        patterns: the kinds of sentences that make a review, in order.
        verdicts: construction -> its sentences.
        fillers: kind of sentence -> the sentences that do not judge.
        phrases: slot -> what may stand there.
        judging: construction, or ``"mixed"`` -> kind of word -> (bad words, good words).
        topics: what a film may be about: slot -> the words of which a review has one.
        once: slot -> the words of which a review has one.
        parts: slot -> the words of which each place has its own.
        plain: the share of drafts whose verdict says one thing only.
    """

    patterns: Sequence[tuple[str, ...]]
    verdicts: Mapping[str, Sequence[Verdicts]]
    fillers: Mapping[str, Sequence[str]]
    phrases: Mapping[str, Sequence[str]]
    judging: Mapping[str, Mapping[str, Pairs]]
    topics: Sequence[Mapping[str, Sequence[str]]]
    once: Mapping[str, Sequence[str]]
    parts: Mapping[str, Sequence[str]]
    plain: float


@cache
def grammar(split: Split) -> Grammar:
    """The grammar of ``"train"`` or ``"test"``.

    >>> list(grammar("test").verdicts)[:3]
    ['negation', 'double negation', 'concession']
    """
    require(split in SPLITS, f"split={split!r} is not known; choose one of {list(SPLITS)}")
    sentences, words = _read("mini_reviews.toml"), _read("mini_reviews_words.toml")
    mine, joins = sentences[split], {name: _lines(block) for name, block in sentences["joins"].items()}
    verdicts = {name: _verdicts(groups, joins) for name, groups in mine["verdicts"].items()}
    pairs = _pairs(words[split]["pairs"])
    judging = {
        name: judging_words(_pairs(words["judging"]), split, i) | pairs for i, name in enumerate([*verdicts, "mixed"])
    }
    if PLAIN in mine:
        verdicts[PLAIN] = _verdicts(mine[PLAIN], joins)
        judging[PLAIN] = _pairs(words["judging"])
    return Grammar(
        patterns=PATTERNS,
        verdicts=verdicts,
        fillers={name: _lines(block) for name, block in mine["fillers"].items()},
        phrases={name: _lines(block) for name, block in mine["phrases"].items()},
        judging=judging,
        topics=tuple(
            {"genre": (genre,)} | dict(zip(("who", "who2", "place"), map(_words, lists), strict=True))
            for genre, lists in words[split]["topics"].items()
        ),
        once={slot: _words(options) for slot, options in words[split]["once"].items()},
        parts={slot: _words(options) for slot, options in words[split]["parts"].items()},
        plain=PLAIN_SHARE if PLAIN in mine else 0.0,
    )


def judging_words(kinds: Mapping[str, Pairs], split: Split, construction: int) -> dict[str, Pairs]:
    """The words that judge, as construction number ``construction`` may use them in ``split``.

    Word i is kept for the test where i + construction is a multiple of 4. So a test review shows no word in a
    construction where training showed it, and training shows every word in most of the constructions.

    >>> kinds = {"noun": (("mess", "bore", "failure", "disaster"), ("masterpiece", "triumph", "gem", "treat"))}
    >>> judging_words(kinds, "train", 1), judging_words(kinds, "test", 1)
    ({'noun': (('mess', 'bore', 'failure'), ('masterpiece', 'triumph', 'gem'))}, {'noun': (('disaster',), ('treat',))})
    """

    def kept(words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(w for i, w in enumerate(words) if ((i + construction) % 4 == 0) == (split == "test"))

    return {kind: (kept(bad), kept(good)) for kind, (bad, good) in kinds.items()}


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files("companion.data").joinpath(name).read_text(encoding="utf-8"))


def _words(options: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(options.split() if isinstance(options, str) else options)


def _pairs(table: Mapping[str, Mapping[str, Any]]) -> dict[str, Pairs]:
    return {kind: (_words(pair["bad"]), _words(pair["good"])) for kind, pair in table.items()}


def _lines(block: str) -> tuple[str, ...]:
    return tuple(block.strip().splitlines())


def _verdicts(groups: Sequence[Mapping[str, Any]], joins: Mapping[str, tuple[str, ...]]) -> tuple[Verdicts, ...]:
    found = []
    for group in groups:
        ways = tuple(way for join in group["joins"] for way in joins.get(join, (join,)))
        halves = {"aside": _lines(group.get("asides", "")), "held": _lines(group.get("helds", ""))}
        found.append(Verdicts(ways, halves))
        if group.get("nouns"):
            found.append(Verdicts(ways, {name: _with_nouns(lines) for name, lines in halves.items()}))
    return tuple(found)


def _with_nouns(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The halves that speak of a thing, with mess or masterpiece in its place.

    >>> _with_nouns(("I got {thing:yes}", "it was {adj:yes}"))
    ('I got a {noun:yes}',)
    """
    return tuple(line.replace("{thing:", "a {noun:") for line in lines if "{thing:" in line)


@cache
def tokens(template: str) -> tuple[Token, ...]:
    """The places of a template.

    >>> tokens("a {adj:no} film.")
    (Token(before='a', slot='', role='', after=''), Token(before='', slot='adj', role='no', after=''), \
Token(before='film.', slot='', role='', after=''))
    """
    found = ((word, _SLOT.fullmatch(word)) for word in template.split())
    return tuple(Token(m[1], m[2], m[3] or "", m[4]) if m else Token(word) for word, m in found)


# What can be written, by its number of words and the slots in it that are chosen once for a review.
_Sizes = Counter[tuple[int, frozenset[str]]]


def count_reviews(rules: Grammar) -> int:
    """How many reviews of 15 to 60 words, label included, a grammar can write: the ways to choose, counted exactly.

    >>> count_reviews(grammar("test")) > 10**13
    True
    """
    counter = _Counter(rules)
    total: _Sizes = Counter()
    for pattern in rules.patterns:
        sizes: _Sizes = Counter({(0, frozenset()): 1})
        for name in pattern:
            sizes = _both(sizes, counter.verdicts() if name == "verdict" else counter.filler(name))
        total += sizes
    slots: Counter[frozenset[str]] = Counter()
    for (length, once), n in total.items():
        slots[once] += n * (SHORTEST <= length <= LONGEST)
    return sum(n * _choices(rules, once) for once, n in slots.items())


def _choices(rules: Grammar, once: frozenset[str]) -> int:
    """In how many ways the slots that are chosen once can be filled."""
    of_topic = once & set(rules.topics[0])
    topics = sum(math.prod(len(topic[slot]) for slot in of_topic) for topic in rules.topics) if of_topic else 1
    return topics * math.prod(len(rules.once[slot]) for slot in once - of_topic)


def _both(first: _Sizes, second: _Sizes) -> _Sizes:
    """One after the other."""
    sizes: _Sizes = Counter()
    for (length, once), n in first.items():
        for (more, others), m in second.items():
            if length + more <= LONGEST:
                sizes[length + more, once | others] += n * m
    return sizes


class _Counter:
    """Counts what :mod:`companion.data.mini_reviews` can write, by the same rules."""

    def __init__(self, rules: Grammar) -> None:
        self.rules = rules

    def verdicts(self) -> _Sizes:
        total: _Sizes = Counter()
        for name, groups in self.rules.verdicts.items():
            for group in groups:
                for label in (0, 1):
                    phrases = {**self.rules.phrases, **group.halves}
                    total += self.any_of(group.joins, "", self.rules.judging[name], label, phrases, {})
        return total

    def filler(self, name: str) -> _Sizes:
        total: _Sizes = Counter()
        for template in self.rules.fillers[name]:
            is_tossed = any(token.role for token in tokens(template))
            for side in (0, 1) if is_tossed else (0,):
                total += self.any_of([template], "", self.rules.judging["mixed"], side, self.rules.phrases, {})
        return total

    def any_of(
        self,
        lines: Sequence[str],
        role: str,
        judging: Mapping[str, Pairs],
        side: int,
        phrases: Mapping[str, Sequence[str]],
        known: dict[tuple[str, str], _Sizes],
    ) -> _Sizes:
        """One of these lines, the words that judge being of the polarities that ``side`` gives to their roles."""
        sums: _Sizes = Counter()
        for line in lines:
            total: _Sizes = Counter({(0, frozenset()): 1})
            for token in tokens(line):
                slot, inner = token.slot, token.role or role
                here: _Sizes = Counter()
                if slot in phrases:
                    if (slot, inner) not in known:
                        known[slot, inner] = self.any_of(phrases[slot], inner, judging, side, phrases, known)
                    here = known[slot, inner]
                elif slot in judging or slot in self.rules.parts:
                    words = judging[slot][SIDES[inner][side]] if slot in judging else self.rules.parts[slot]
                    here.update((len(word.split()), frozenset()) for word in words)
                else:
                    here[1, frozenset([slot] if slot else [])] = 1
                total = _both(total, here)
            sums += total
        return sums

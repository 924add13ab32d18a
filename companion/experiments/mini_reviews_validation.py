"""Held-out sentences and words from within the training grammar of the mini reviews: to choose settings by.

Whoever chooses settings by the test learns from the test. These two grammars are parts of the training grammar, and
stand to each other much as training stands to the test: they share the constructions and the words that judge, but,
some lists aside, neither sentences nor other content words, and no word that judges is validated in a construction in
which it was learned.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TypeVar

from companion.data.mini_reviews_grammar import PLAIN, Grammar, Pairs, Verdicts, grammar, judging_words, tokens

_T = TypeVar("_T")
KINDS = ("adj", "noun", "verb")  #: of the words that judge; the other pairs belong to a construction
COMPOSED = "said"  #: the phrase that only names other phrases


def validation_grammars() -> tuple[Grammar, Grammar]:
    """What to learn from and what to judge by, while settings are chosen; neither holds anything of the test.

    Of each list of 4 or more sentences or words every fourth is kept for validation, but no sentence with a word that
    stands in none of those to learn from: as in the test, all that is said can be learned. Other lists serve both.

    >>> learn, judge = validation_grammars()
    >>> judge.once["day"], set(judge.once["day"]) & set(learn.once["day"])
    (('Saturday',), set())
    """
    return _part(held=False), _part(held=True)


def kept(options: Sequence[_T], *, held: bool) -> tuple[_T, ...]:
    """Every fourth of the ``options`` if ``held``, else the others; all of them if they are fewer than 4.

    >>> kept("abcdefgh", held=True), kept("abcde", held=False), kept("ab", held=True)
    (('d', 'h'), ('a', 'b', 'c', 'e'), ('a', 'b'))
    """
    if len(options) < 4:
        return tuple(options)
    return tuple(option for i, option in enumerate(options) if (i % 4 == 3) == held)


def _part(*, held: bool) -> Grammar:
    rules = grammar("train")
    topics = kept(rules.topics, held=held)
    verdicts = {
        name: [_group(group, held=held) for group in groups]
        for name, groups in rules.verdicts.items()
        if not (held and name == PLAIN)
    }
    return replace(
        rules,
        verdicts=verdicts,
        fillers={name: _sentences(lines, held=held) for name, lines in rules.fillers.items()},
        phrases={
            slot: tuple(lines) if slot == COMPOSED else _sentences(lines, held=held)
            for slot, lines in rules.phrases.items()
        },
        judging={name: _judging(rules, name, i, held=held) for i, name in enumerate(rules.judging)},
        topics=topics,
        once={slot: kept(options, held=held) for slot, options in rules.once.items()},
        parts={slot: kept(options, held=held) for slot, options in rules.parts.items()},
        plain=0.0 if held else rules.plain,
    )


def _sentences(lines: Sequence[str], *, held: bool) -> tuple[str, ...]:
    """As :func:`kept`, but sentences with a word of their own are learned from, too."""
    judged = [line for line in kept(lines, held=True) if _words(line) <= _words_to_learn()]
    if len(lines) < 4 or not judged:
        return tuple(lines)
    return tuple(line for line in lines if (line in judged) == held)


@cache
def _words_to_learn() -> frozenset[str]:
    rules = grammar("train")
    groups = [group for name in rules.verdicts for group in rules.verdicts[name]]
    lists = [*rules.fillers.values(), *rules.phrases.values()]
    lists += [lines for group in groups for lines in (group.joins, *group.halves.values())]
    words: frozenset[str] = frozenset()
    return words.union(*(_words(line) for lines in lists for line in kept(lines, held=False)))


def _words(line: str) -> frozenset[str]:
    return frozenset(token.before.strip(".,;:").lower() for token in tokens(line) if not token.slot)


def _group(group: Verdicts, *, held: bool) -> Verdicts:
    """Sentences or halves are parted, ways to join halves are not: who has only met "{aside}, but {held}" misreads
    "{held}, but {aside}", and rightly so."""
    halves = {name: _sentences(lines, held=held) for name, lines in group.halves.items()}
    return Verdicts(group.joins if any(halves.values()) else _sentences(group.joins, held=held), halves)


def _judging(rules: Grammar, name: str, i: int, *, held: bool) -> dict[str, Pairs]:
    """The words that judge in construction number ``i``; plain verdicts, which are for training, have all of them."""
    words = dict(rules.judging[name])
    if name == PLAIN:
        return words
    return words | judging_words({kind: words[kind] for kind in KINDS}, "test" if held else "train", i)

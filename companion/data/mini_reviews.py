r"""Short film reviews in which word order decides whether they are good: for learning to read, not to count words.

No data set is needed, and the amount is unlimited. A seeded grammar writes one to four sentences about one film. One of
them, the verdict, says two things of opposite polarity and asserts one of them::

    I expected a dull film and got a gripping film.           label 1, good
    I expected a gripping film and got a dull film.           label 0, bad

Every such review has a **twin**: the same words in another order, and the other label. So the counts of its words say
nothing, pairs and triples of words say little, and who reads in order knows all. The other sentences tell what the film
is about and where it was seen, or report that opinions differ.

Eleven constructions decide: negation ("it is not dull ..."), double negation, concession ("although ..."), contrast of
look and truth, hedging ("parts of it are ..., on the whole ..."), expectation and outcome, comparison ("better than",
"less ... than"), attribution (who says so), what might have been, a change of mind, another film.

The splits share the constructions and the words that judge (*dull*, *gripping*), but no sentence and no other content
word, and in the test no word that judges stands in a construction in which training had it. Of the training reviews,
nearly four in ten have a **plain** verdict ("This one is gripping."): they have no twin, and it is from them that the
polarity of a word can be learned. The test has none.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from companion.data.mini_reviews_grammar import LONGEST, PLAIN, SHORTEST, SIDES, Grammar, Split, grammar, tokens
from companion.errors import require

_T = TypeVar("_T")


@dataclass(frozen=True)
class MiniReviews:
    """Reviews, their labels, and what made them so.

    Attributes:
        texts: the reviews.
        labels: 1 for a good film, 0 for a bad one.
        constructions: the names of the constructions that decided, like ``"negation"``.
        verdicts: the sentences that decided.
    """

    texts: list[str]
    labels: list[int]
    constructions: list[str]
    verdicts: list[str]

    def __len__(self) -> int:
        return len(self.texts)


def mini_reviews(n: int, *, seed: int = 0, split: Split = "train", twins: bool = False) -> MiniReviews:
    r"""Draw ``n`` reviews of 15 to 60 words.

    Args:
        n: how many.
        seed: where the chance comes from; a seed gives the same reviews in every version of Python.
        split: ``"train"``, or ``"test"`` with sentences and content words that no training review has.
        twins: whether the reviews come in pairs 0 and 1, 2 and 3, ... of the same words and opposite labels; then none
            of them is plain.

    Raises:
        ValueError: there is no review, a twin without the other, or no such split.

    >>> reviews = mini_reviews(2, seed=8, twins=True)
    >>> reviews.labels, reviews.constructions[0]
    ([0, 1], 'negation')
    """
    require(n >= 1, f"n={n} reviews; ask for at least 1")
    require(not twins or n % 2 == 0, f"n={n} reviews are no pairs of twins; ask for an even number")
    return draw_reviews(grammar(split), n, generator=random.Random(seed), twins=twins)


def draw_reviews(rules: Grammar, n: int, *, generator: random.Random, twins: bool = False) -> MiniReviews:
    """Draw from any grammar of this kind; of ``generator`` only ``random()`` is called, which Python keeps as it is."""
    rows: list[tuple[str, int, str, str]] = []
    while len(rows) < n:
        label = int(generator.random() < 0.5)
        draft = _Writer(rules, generator).draft(plain=0.0 if twins else rules.plain)
        if SHORTEST <= len(draft.text(label).split()) <= LONGEST:
            rows += [draft.row(label), draft.row(1 - label)] if twins else [draft.row(label)]
    texts, labels, constructions, verdicts = map(list, zip(*rows, strict=True))
    return MiniReviews(texts, labels, constructions, verdicts)


@dataclass(frozen=True)
class _Draft:
    """A review but for its label: each word is there for label 0 and for label 1."""

    construction: str
    sentences: list[list[tuple[str, str]]]
    verdict: int  # which of the sentences it is

    def sentence(self, i: int, label: int) -> str:
        sentence = " ".join(word[label] for word in self.sentences[i])
        return sentence[0].upper() + sentence[1:]

    def text(self, label: int) -> str:
        return " ".join(self.sentence(i, label) for i in range(len(self.sentences)))

    def row(self, label: int) -> tuple[str, int, str, str]:
        return self.text(label), label, self.construction, self.sentence(self.verdict, label)


class _Writer:
    """Draws the sentences of one review, which share a topic and all else that is chosen once."""

    def __init__(self, rules: Grammar, generator: random.Random) -> None:
        self.rules, self.generator = rules, generator
        self.topic = self.choose(rules.topics)
        self.once: dict[str, str] = {}

    def choose(self, options: Sequence[_T]) -> _T:
        return options[int(self.generator.random() * len(options))]

    def draft(self, *, plain: float) -> _Draft:
        names = [name for name in self.rules.verdicts if name != PLAIN]
        construction = PLAIN if self.generator.random() < plain else self.choose(names)
        pattern = self.choose(self.rules.patterns)
        sentences = [self.verdict(construction) if name == "verdict" else self.filler(name) for name in pattern]
        return _Draft(construction, sentences, pattern.index("verdict"))

    def verdict(self, construction: str) -> list[tuple[str, str]]:
        group = self.choose([group for group in self.rules.verdicts[construction] for _ in range(group.weight)])
        return list(_Sentence(self, construction, group.halves).expand(self.choose(group.joins), ""))

    def filler(self, name: str) -> list[tuple[str, str]]:
        sentence = _Sentence(self, "mixed", {}).expand(self.choose(self.rules.fillers[name]), "")
        side = int(self.generator.random() < 0.5)
        return [(word[side], word[side]) for word in sentence]

    def word(self, slot: str) -> str:
        """A word that does not judge."""
        if slot in self.rules.parts:
            return self.choose(self.rules.parts[slot])
        if slot not in self.once:
            self.once[slot] = self.choose(self.topic.get(slot) or self.rules.once[slot])
        return self.once[slot]


class _Sentence:
    """Fills the slots of one sentence, which has one bad and one good word of a kind."""

    def __init__(self, writer: _Writer, judging: str, halves: Mapping[str, Sequence[str]]) -> None:
        self.writer, self.judging = writer, writer.rules.judging[judging]
        self.phrases = {**writer.rules.phrases, **halves}
        self.pairs: dict[str, tuple[str, str]] = {}

    def expand(self, template: str, role: str) -> Iterator[tuple[str, str]]:
        """Each word on either side: with label 0 and with label 1, or for the two ways that a coin may fall."""
        for before, slot, own_role, after in tokens(template):
            inner = own_role or role
            if not slot:
                yield before, before
            elif slot in self.phrases:
                *start, (one, other) = self.expand(self.writer.choose(self.phrases[slot]), inner)
                yield from start
                yield one + after, other + after
            elif slot in self.judging:
                one, other = (self.pair(slot)[side] for side in SIDES[inner])
                yield f"{before}{one}{after}", f"{before}{other}{after}"
            else:
                word = f"{before}{self.writer.word(slot)}{after}"
                yield word, word

    def pair(self, kind: str) -> tuple[str, str]:
        if kind not in self.pairs:
            bad, good = self.judging[kind]
            self.pairs[kind] = self.writer.choose(bad), self.writer.choose(good)
        return self.pairs[kind]

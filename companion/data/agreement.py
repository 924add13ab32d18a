r"""A small language with long-range agreement: what a verb looks like depends on a noun that may be far away.

It is made for one question: which positional schemes still work on texts longer than those of training (Press et al.
2022)? No data set is needed, the amount is unlimited, and the right answer is known at every verb.

Grammar, with a budget of words for each piece, so that sentences of any length exist::

    text      ->  <s> sentence sentence ...                 cut at the asked length
    sentence  ->  clause .
    clause    ->  noun item* verb                           the verb agrees with this noun: cat stops, cats stop
    item      ->  adverb                                    often
                | preposition noun                          near cars: a noun that no verb agrees with
                | that clause                               that boys move: a clause inside the clause

    <s> cat near cars stops . boys that cat often moves turn .

The nouns of the prepositions and of the inner clauses stand between a verb and its subject, so the nearest noun is
often the wrong one, and counting words ("more plurals than singulars so far") does not help: order decides. The length
of a sentence is log-uniform between 3 and ``longest``, the same at every place of the text. So there are two ways to
make a text longer: more of the same sentences, or longer sentences, whose verbs stand farther from their subjects.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from companion.errors import require

START, STOP, THAT = "<s>", ".", "that"
SINGULAR_NOUNS = ("cat", "dog", "boy", "car")
PLURAL_NOUNS = ("cats", "dogs", "boys", "cars")
SINGULAR_VERBS = ("stops", "moves", "turns", "waits")
PLURAL_VERBS = ("stop", "move", "turn", "wait")
PREPOSITIONS = ("near", "behind", "with")
ADVERBS = ("often", "never", "today")
#: The words by their ids.
VOCABULARY = (
    START,
    STOP,
    THAT,
    *SINGULAR_NOUNS,
    *PLURAL_NOUNS,
    *SINGULAR_VERBS,
    *PLURAL_VERBS,
    *PREPOSITIONS,
    *ADVERBS,
)
_ID = {word: i for i, word in enumerate(VOCABULARY)}

# How often an item is an adverb, a preposition with its noun, or else an inner clause (where there is room).
_ADVERB, _PREPOSITION = 0.25, 0.35


@dataclass(frozen=True)
class AgreementTexts:
    """Texts and, for each verb, what it has to agree with.

    Attributes:
        ids: the words, (B, T).
        gap: how many words back the verb's subject stands, (B, T); 0 where there is no verb.
        plural: whether the verb is plural, (B, T); False where there is no verb.
    """

    ids: Tensor
    gap: Tensor
    plural: Tensor

    @property
    def is_verb(self) -> Tensor:
        """(B, T) bool: where the verbs stand."""
        return self.gap > 0


def agreement_texts(
    n: int, length: int, *, generator: random.Random, longest: int | None = None, max_depth: int = 2
) -> AgreementTexts:
    """Draw ``n`` texts of ``length`` words.

    Args:
        n: number of texts, B.
        length: words in each, T, with the ``<s>`` at the start; the last sentence is cut where the text ends.
        generator: where the chance comes from; only its ``random()`` is called, whose sequence Python keeps for a
            seed in every version.
        longest: words in the longest sentence, its full stop included; by default ``length``.
        max_depth: how many clauses may stand inside each other; 1 means no inner clauses.

    Raises:
        ValueError: there is no text, or no room for the shortest sentence.

    >>> texts = agreement_texts(1, 12, generator=random.Random(20))
    >>> agreement_words(texts.ids[0])
    '<s> car that car waits near car that cars move stops .'
    >>> texts.gap[0].tolist()
    [0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 9, 0]
    """
    require(n >= 1, f"n={n} texts; ask for at least 1")
    require(length >= 4, f"length={length} has no room for '<s> noun verb .'; ask for at least 4")
    longest = length if longest is None else longest
    require(longest >= 3, f"longest={longest} has no room for 'noun verb .'; allow sentences of 3 words or more")
    require(max_depth >= 1, f"max_depth={max_depth}; a sentence is one clause at least, so ask for 1 or more")
    rows = [_text(length, longest, max_depth, generator) for _ in range(n)]
    ids = torch.tensor([[_ID[word] for word, _ in row] for row in rows])  # (B, T)
    gap = torch.tensor([[back for _, back in row] for row in rows])  # (B, T)
    return AgreementTexts(ids, gap, (gap > 0) & (ids >= _ID[PLURAL_VERBS[0]]))


def agreement_words(ids: Tensor | Sequence[int]) -> str:
    """The words of one text, joined by spaces.

    >>> agreement_words([0, 3, 11, 1])
    '<s> cat stops .'
    """
    return " ".join(VOCABULARY[int(i)] for i in ids)


def agreement_ids(words: str) -> Tensor:
    """The ids (T,) of a text written as words.

    >>> agreement_ids("<s> cat stops .").tolist()
    [0, 3, 11, 1]
    >>> agreement_ids("<s> cat jumps .")
    Traceback (most recent call last):
    ...
    ValueError: 'jumps' is not a word of this language; its words are in companion.data.agreement.VOCABULARY
    """
    for word in words.split():
        require(
            word in _ID,
            f"{word!r} is not a word of this language; its words are in companion.data.agreement.VOCABULARY",
        )
    return torch.tensor([_ID[word] for word in words.split()])


def predicts_plural(logits: Tensor) -> Tensor:
    """Whether the plural verbs together are likelier than the singular ones: (..., V) to bool (...).

    Which verb comes is chance, only its number is determined, so the number is what is judged.
    """
    require(logits.size(-1) == len(VOCABULARY), f"got {logits.size(-1)} logits for {len(VOCABULARY)} words")
    one, many = _ID[SINGULAR_VERBS[0]], _ID[PLURAL_VERBS[0]]
    singular, plural = logits[..., one:many], logits[..., many : many + len(PLURAL_VERBS)]
    return plural.logsumexp(-1) > singular.logsumexp(-1)


def nearest_noun_is_plural(ids: Tensor) -> Tensor:
    """What a reader with no grammar would guess at each position from the words before it: bool (B, T).

    The guess is the number of the nearest noun to the left (False where there is none). It is right at a verb whose
    subject is that noun, and right by chance elsewhere: the score that a model has to beat.
    """
    is_noun = (ids >= _ID[SINGULAR_NOUNS[0]]) & (ids < _ID[SINGULAR_VERBS[0]])  # (B, T)
    place = torch.where(is_noun, torch.arange(ids.size(-1), device=ids.device), -1)
    nearest = place.cummax(dim=-1).values.roll(1, dims=-1)  # (B, T): of the words before
    nearest[..., 0] = -1
    return (ids.gather(-1, nearest.clamp(min=0)) >= _ID[PLURAL_NOUNS[0]]) & (nearest >= 0)


def _text(length: int, longest: int, max_depth: int, generator: random.Random) -> list[tuple[str, int]]:
    """(word, gap) for each word; the gap is 0 but for verbs."""
    text = [(START, 0)]
    while len(text) < length:
        text += [*_clause(_log_uniform(3, longest, generator) - 1, max_depth, generator), (STOP, 0)]
    return text[:length]


def _clause(budget: int, depth: int, generator: random.Random) -> Iterator[tuple[str, int]]:
    """Exactly ``budget`` words: noun, items, verb."""
    is_plural = generator.random() < 0.5
    yield _choose(PLURAL_NOUNS if is_plural else SINGULAR_NOUNS, generator), 0
    room = budget - 2
    while room > 0:
        item = list(_item(room, depth, generator))
        room -= len(item)
        yield from item
    yield _choose(PLURAL_VERBS if is_plural else SINGULAR_VERBS, generator), budget - 1


def _item(room: int, depth: int, generator: random.Random) -> Iterator[tuple[str, int]]:
    kind = generator.random()
    if room == 1 or kind < _ADVERB:
        yield _choose(ADVERBS, generator), 0
    elif room == 2 or depth == 1 or kind < _ADVERB + _PREPOSITION:
        yield _choose(PREPOSITIONS, generator), 0
        yield _choose(SINGULAR_NOUNS + PLURAL_NOUNS, generator), 0
    else:
        yield THAT, 0
        yield from _clause(_log_uniform(2, room - 1, generator), depth - 1, generator)


def _choose(words: Sequence[str], generator: random.Random) -> str:
    return words[int(generator.random() * len(words))]


def _log_uniform(low: int, high: int, generator: random.Random) -> int:
    """A whole number from ``low`` to ``high``, each doubling equally likely."""
    return min(high, int(low * ((high + 1) / low) ** generator.random()))

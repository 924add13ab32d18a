"""Who can read the mini reviews: a small Transformer, and what it learns from.

The linear model beside it is in :mod:`companion.experiments.ngrams`. Both see the same words and learn from the reviews
of one split; both are judged on the other. Letters in the shapes: B batch, T tokens, C classes.
"""

import hashlib
import math
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from companion.config import TransformerConfig
from companion.data.mini_reviews import MiniReviews, draw_reviews, mini_reviews
from companion.data.mini_reviews_grammar import SPLITS, Grammar, grammar
from companion.errors import require
from companion.experiments.agreement import one_thread
from companion.experiments.ngrams import review_words
from companion.models.classifier import TransformerClassifier
from companion.nn.masks import length_mask

PADDING, UNKNOWN = 0, 1
#: the shape of :func:`small_classifier`
SHAPE: Mapping[str, Any] = {
    "d_model": 64,
    "n_layers": 2,
    "n_heads": 4,
    "d_ff": 128,
    "max_len": 128,
    "dropout": 0.0,
    "activation": "relu",
    "position": "rope",
    "position_base": 100.0,
    "init_std": 0.125,
}


def paired_reviews(n: int, *, seed: int = 0, plain: float = 0.3, rules: Grammar | None = None) -> MiniReviews:
    """``n`` training reviews: a share ``plain`` says one thing only, the others come in pairs of twins.

    A pair has the same words and opposite labels: what the words alone say cancels in a batch that has both, and what
    order says remains. A Transformer learns from that far sooner than from as many reviews drawn singly. They are drawn
    from ``rules``, by default the training grammar.

    >>> reviews = paired_reviews(20)
    >>> len(reviews), reviews.constructions.count("plain")
    (20, 6)
    """
    pairs = round(n * (1.0 - plain) / 2)
    rules, generator = rules or grammar("train"), random.Random(seed)
    twins = draw_reviews(rules, 2 * pairs, generator=generator, twins=True)
    alone = draw_reviews(replace(rules, plain=1.0), n - 2 * pairs, generator=generator)
    units = [[i, i + 1] for i in range(0, 2 * pairs, 2)] + [[i] for i in range(2 * pairs, n)]
    order = [i for _, unit in sorted((generator.random(), unit) for unit in units) for i in unit]
    columns = [first + second for first, second in zip(vars(twins).values(), vars(alone).values(), strict=True)]
    return MiniReviews(*([column[i] for i in order] for column in columns))


def data_digest(n: int = 500) -> str:
    """SHA-256 of both splits' grammars and of the first ``n`` reviews and labels that are drawn from them."""
    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update(repr(grammar(split)).encode())
        reviews = mini_reviews(n, split=split)
        for label, text in zip(reviews.labels, reviews.texts, strict=True):
            digest.update(f"{label} {text}\n".encode())
    return digest.hexdigest()


@dataclass
class ReviewClassifier:
    """A small Transformer with its vocabulary, and how its training went.

    Attributes:
        model: the classifier.
        vocabulary: word -> id; a word that is not in it is read as unknown.
        losses: of each step, in nats.
        seconds: of the processor, for the training.
    """

    model: TransformerClassifier
    vocabulary: dict[str, int]
    losses: list[float]
    seconds: float = 0.0

    def ids(self, text: str) -> list[int]:
        """The ids of a text's words."""
        return [self.vocabulary.get(word, UNKNOWN) for word in review_words(text)]

    @torch.no_grad()
    def probabilities(self, texts: Sequence[str]) -> Tensor:
        """How probable it is that each of the ``texts`` is good: (B,)."""
        was_training = self.model.training
        self.model.eval()
        rows = [self.ids(text) for text in texts]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        result = torch.empty(len(rows))
        for start in range(0, len(order), 128):
            which = order[start : start + 128]
            ids, padding = _batch([rows[i] for i in which])
            result[which] = self.model(ids, padding=padding).softmax(-1)[:, 1]
        self.model.train(was_training)
        return result

    def right(self, reviews: MiniReviews) -> list[bool]:
        """Which of the reviews it takes for what they are."""
        guess = self.probabilities(reviews.texts) > 0.5
        found: list[bool] = (guess == torch.tensor(reviews.labels).bool()).tolist()
        return found

    def accuracy(self, reviews: MiniReviews) -> float:
        """Share of the reviews whose label it finds."""
        return sum(self.right(reviews)) / len(reviews)


def _batch(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids (B, T), filled up with padding, and which of them are real (B, T)."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=PADDING)
    return ids, length_mask(lengths)


def small_classifier(reviews: MiniReviews, *, seed: int, **changes: Any) -> ReviewClassifier:
    """A fresh classifier for the words of ``reviews``: width 64, 2 blocks, 4 heads, rotary positions, no dropout.

    Its initial weights have the standard deviation 1/√64, as in :mod:`companion.experiments.agreement`. The rotary
    positions turn once in at most 2π·100 words, so that every coordinate tells the places of a short text apart.
    """
    counts = Counter(word for text in reviews.texts for word in review_words(text))
    vocabulary = {word: i for i, word in enumerate(sorted(counts), start=UNKNOWN + 1)}
    values = {**SHAPE, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TransformerClassifier(TransformerConfig(vocab_size=len(vocabulary) + 2, **values), n_classes=2)
    return ReviewClassifier(model, vocabulary, [])


@one_thread()
def train_small_classifier(
    reviews: MiniReviews,
    *,
    steps: int,
    batch_size: int = 64,
    peak_lr: float = 2e-3,
    unknown: float = 0.05,
    rare: float = 0.0,
    average: float = 0.0,
    weight_decay: float = 0.01,
    seed: int = 0,
    progress: bool = False,
    **changes: Any,
) -> ReviewClassifier:
    """Train a fresh classifier on ``reviews``, in as many rounds as the ``steps`` take; with a bar if ``progress``.

    AdamW, gradients clipped to norm 1; the rate rises for a tenth of the steps and then falls along a cosine. Words are
    read as unknown at random, chosen anew at each step, so that the model gets used to reviews with words that it has
    not met: a share ``unknown`` of all, and more of the rare ones (:func:`hiding_shares`). With ``average`` above 0 the
    model that comes back has the running mean of the weights, θ' ← ``average`` θ' + (1 - ``average``) θ after each step
    (Polyak and Juditsky 1992).

    Raises:
        ValueError: there are fewer reviews than one batch takes.
    """
    from tqdm import tqdm

    require(len(reviews) >= batch_size, f"{len(reviews)} reviews do not fill a batch of {batch_size}; draw more")
    classifier = small_classifier(reviews, seed=seed, **changes)
    rows, labels = [classifier.ids(text) for text in reviews.texts], torch.tensor(reviews.labels)
    model, generator = classifier.model, torch.Generator().manual_seed(seed)
    shares = hiding_shares(reviews, classifier.vocabulary, unknown=unknown, rare=rare)
    running = get_ema_multi_avg_fn(average)  # type: ignore[no-untyped-call]
    mean = AveragedModel(model, multi_avg_fn=running) if average else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_lr, weight_decay=weight_decay, fused=True)
    batches = _batches(rows, _units(rows, reviews.labels), batch_size, generator)
    start = time.process_time()
    model.train()
    for step in tqdm(range(steps), desc=f"Transformer, seed {seed}", unit="step", disable=not progress):
        rate = peak_lr * min((step + 1) / max(1, steps // 10), 0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        which = next(batches)
        ids, padding = _batch([rows[i] for i in which])
        hidden = torch.rand(ids.shape, generator=generator) < shares[ids]  # (B, T)
        logits = model(ids.masked_fill(hidden & padding, UNKNOWN), padding=padding)  # (B, C)
        loss = nn.functional.cross_entropy(logits, labels[which])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        classifier.losses.append(loss.item())
        if mean is not None:
            mean.update_parameters(model)
    if mean is not None:
        model.load_state_dict(mean.module.state_dict())
    classifier.seconds = time.process_time() - start
    return classifier


def hiding_shares(reviews: MiniReviews, vocabulary: Mapping[str, int], *, unknown: float, rare: float) -> Tensor:
    """How often each word is to be read as unknown in training, by its id: (V,).

    u + (1 - u) r / (r + n) for a word that stands n times in a review, on the average: with u = ``unknown`` whatever
    the word, and with r = ``rare`` sooner the rarer it is (word dropout: Kiperwasser and Goldberg 2016, where u = 0).
    For what a new review has that training had not is no *not* and no *but*: it is its rare words.

    >>> hiding_shares(MiniReviews(["not dull"], [1], [], []), {"not": 2, "dull": 3}, unknown=0.0, rare=1.0).tolist()
    [0.0, 0.0, 0.5, 0.5]
    """
    counts = Counter(word for text in reviews.texts for word in review_words(text))
    shares = torch.full((len(vocabulary) + UNKNOWN + 1,), unknown)
    for word, i in vocabulary.items():
        if rare:
            shares[i] += (1.0 - unknown) * rare / (rare + counts[word] / len(reviews))
    shares[: UNKNOWN + 1] = 0.0
    return shares


def _units(rows: Sequence[Sequence[int]], labels: Sequence[int]) -> list[list[int]]:
    """Which reviews belong together: twins, where one follows the other, and each of the rest alone.

    >>> _units([[5, 6], [7, 8], [8, 7], [9]], [1, 1, 0, 0])
    [[0], [1, 2], [3]]
    """
    units: list[list[int]] = []
    for i, (row, label) in enumerate(zip(rows, labels, strict=True)):
        before = units[-1] if units else []
        if before == [i - 1] and labels[i - 1] != label and sorted(rows[i - 1]) == sorted(row):
            before.append(i)
        else:
            units.append([i])
    return units


def _batches(
    rows: Sequence[Sequence[int]], units: Sequence[list[int]], size: int, generator: torch.Generator
) -> Iterator[list[int]]:
    """Which reviews make up a batch, for ever: drawn at random, twins together, of like length to save padding."""
    while True:
        order = torch.randperm(len(units), generator=generator).tolist()
        batches = []
        for i in range(0, len(order), 50 * size):
            batch: list[int] = []
            for unit in sorted((units[j] for j in order[i : i + 50 * size]), key=lambda unit: len(rows[unit[0]])):
                batch += unit
                if len(batch) >= size:
                    batches.append(batch)
                    batch = []
        for i in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[i]

"""Who can read the mini reviews: a linear model that counts one to three words, and a small Transformer.

Both see the same words and learn from the reviews of one split; both are judged on the other. Letters in the shapes: B
batch, T tokens.
"""

import math
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from companion.config import TransformerConfig
from companion.data.mini_reviews import MiniReviews
from companion.errors import require
from companion.experiments.agreement import one_thread
from companion.models.classifier import TransformerClassifier
from companion.nn.masks import length_mask

PADDING, UNKNOWN = 0, 1
_WORD = re.compile(r"[a-z'-]+|[.,;:!?]")


def review_words(text: str) -> list[str]:
    """The words and the marks of a text, in lower case.

    >>> review_words("It is dull; I say: not dull.")
    ['it', 'is', 'dull', ';', 'i', 'say', ':', 'not', 'dull', '.']
    """
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class NgramScore:
    """How a linear model over counts of n-grams did.

    Attributes:
        accuracy: on the reviews it was judged on, once, after it was chosen.
        validation: on the validation reviews, by which it was chosen.
        weighting: ``"count"`` or ``"tf-idf"``.
        longest: words in its longest n-grams.
        c: inverse strength of its regularization.
    """

    accuracy: float
    validation: float
    weighting: str
    longest: int
    c: float


def ngram_accuracy(
    train: MiniReviews,
    test: MiniReviews,
    *,
    weightings: Sequence[str] = ("count", "tf-idf"),
    longest: Sequence[int] = (1, 2, 3),
    cs: Sequence[float] = (0.1, 1.0, 10.0, 100.0),
) -> NgramScore:
    """Logistic regression on n-grams of words, tuned on the last fifth of ``train``, judged on ``test``.

    Of all ``weightings``, lengths of the ``longest`` n-grams and regularizations ``cs``, the one that is best on the
    validation reviews counts. n-grams that stand in one review only are left out. It is then fitted to all of
    ``train``.

    Raises:
        ValueError: there are fewer than 10 reviews to learn from.
    """
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    require(len(train) >= 10, f"{len(train)} reviews are too few to learn from and to validate on; give 10 or more")
    cut = len(train) * 4 // 5

    def fitted_score(weighting: str, n: int, c: float, upto: int, texts: Sequence[str], labels: Sequence[int]) -> float:
        kind = {"count": CountVectorizer, "tf-idf": TfidfVectorizer}[weighting]
        vectorizer = kind(tokenizer=review_words, token_pattern=None, ngram_range=(1, n), min_df=2)
        features = vectorizer.fit_transform(train.texts[:upto])
        model = LogisticRegression(C=c, solver="liblinear", max_iter=1000).fit(features, train.labels[:upto])
        return float(model.score(vectorizer.transform(texts), labels))

    tried = [
        (fitted_score(weighting, n, c, cut, train.texts[cut:], train.labels[cut:]), weighting, n, c)
        for weighting in weightings
        for n in longest
        for c in cs
    ]
    validation, weighting, n, c = max(tried)
    accuracy = fitted_score(weighting, n, c, len(train), test.texts, test.labels)
    return NgramScore(accuracy=accuracy, validation=validation, weighting=weighting, longest=n, c=c)


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

    def accuracy(self, reviews: MiniReviews) -> float:
        """Share of the reviews whose label it finds."""
        guess = self.probabilities(reviews.texts) > 0.5
        return float((guess == torch.tensor(reviews.labels).bool()).double().mean())


def _batch(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids (B, T), filled up with padding, and which of them are real (B, T)."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=PADDING)
    return ids, length_mask(lengths)


def small_classifier(reviews: MiniReviews, *, seed: int, **changes: Any) -> ReviewClassifier:
    """A fresh classifier for the words of ``reviews``: width 64, 2 blocks, 4 heads, rotary positions, no dropout.

    Its initial weights have the standard deviation 1/√64, as in :mod:`companion.experiments.agreement`.
    """
    counts = Counter(word for text in reviews.texts for word in review_words(text))
    vocabulary = {word: i for i, word in enumerate(sorted(counts), start=UNKNOWN + 1)}
    values: dict[str, Any] = {"d_model": 64, "n_layers": 2, "n_heads": 4, "d_ff": 128, "position": "rope", **changes}
    values = {"dropout": 0.0, "init_std": 0.125, "max_len": 128, **values}
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
    peak_lr: float = 4e-3,
    unknown: float = 0.1,
    seed: int = 0,
    **changes: Any,
) -> ReviewClassifier:
    """Train a fresh classifier on ``reviews``, in as many rounds as the ``steps`` take.

    AdamW, gradients clipped to norm 1; the rate rises for a tenth of the steps and then falls along a cosine. A share
    ``unknown`` of the words is read as unknown, chosen anew at each step, so that the model gets used to reviews with
    words that it has not met.

    Raises:
        ValueError: there are fewer reviews than one batch takes.
    """
    require(len(reviews) >= batch_size, f"{len(reviews)} reviews do not fill a batch of {batch_size}; draw more")
    classifier = small_classifier(reviews, seed=seed, **changes)
    rows, labels = [classifier.ids(text) for text in reviews.texts], torch.tensor(reviews.labels)
    model, generator = classifier.model, torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_lr, weight_decay=0.01)
    batches = _batches(rows, batch_size, generator)
    start = time.process_time()
    model.train()
    for step in range(steps):
        rate = peak_lr * min((step + 1) / max(1, steps // 10), 0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        which = next(batches)
        ids, padding = _batch([rows[i] for i in which])
        hidden = torch.rand(ids.shape, generator=generator) < unknown  # (B, T)
        logits = model(ids.masked_fill(hidden & padding, UNKNOWN), padding=padding)  # (B, C)
        loss = nn.functional.cross_entropy(logits, labels[which])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        classifier.losses.append(loss.item())
    classifier.seconds = time.process_time() - start
    return classifier


def _batches(rows: Sequence[Sequence[int]], size: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Which reviews make up a batch, for ever: drawn at random, of like length, so that little is padding."""
    while True:
        order = torch.randperm(len(rows), generator=generator).tolist()
        pools = [sorted(order[i : i + 50 * size], key=lambda j: len(rows[j])) for i in range(0, len(order), 50 * size)]
        batches = [pool[i : i + size] for pool in pools for i in range(0, len(pool) - size + 1, size)]
        for i in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[i]

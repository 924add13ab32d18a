"""The linear model to beat: logistic regression over n-grams of words, tuned."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from companion.data.mini_reviews import MiniReviews
from companion.errors import require

WEIGHTINGS = ("count", "tf-idf", "naive-bayes")
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
        weighting: ``"count"``, ``"tf-idf"`` or ``"naive-bayes"``.
        longest: words in its longest n-grams.
        c: inverse strength of its regularization.
        highest: the best on the reviews judged of all fits that were made: each setting fitted to the reviews that it
            was not chosen by, and the chosen one to all. Another setting fitted to all may do a little better.
    """

    accuracy: float
    validation: float
    weighting: str
    longest: int
    c: float
    highest: float


def ngram_accuracy(
    train: MiniReviews,
    test: MiniReviews,
    *,
    weightings: Sequence[str] = WEIGHTINGS,
    longest: Sequence[int] = (1, 2, 3),
    cs: Sequence[float] = (0.01, 0.1, 1.0, 10.0, 100.0),
) -> NgramScore:
    """Logistic regression on n-grams of words, tuned on the last fifth of ``train``, judged on ``test``.

    Of all ``weightings``, lengths of the ``longest`` n-grams and regularizations ``cs``, the one that is best on the
    validation reviews counts. n-grams that stand in one review only are left out. It is then fitted to all of
    ``train``. Weighted by naive Bayes, an n-gram counts once a review, times the logarithm of how much likelier it is
    in a good one than in a bad one (Wang and Manning 2012).

    Raises:
        ValueError: there are fewer than 10 reviews to learn from, or a weighting is not known.
    """
    require(len(train) >= 10, f"{len(train)} reviews are too few to learn from and to validate on; give 10 or more")
    for weighting in weightings:
        require(weighting in WEIGHTINGS, f"weighting {weighting!r} is not known; choose from {list(WEIGHTINGS)}")
    cut = len(train) * 4 // 5
    parts = (train.texts[:cut], train.labels[:cut]), (train.texts[cut:], train.labels[cut:]), (test.texts, test.labels)
    tried = [
        NgramScore(accuracy, validation, weighting, n, c, highest=accuracy)
        for n in longest
        for weighting, c, (validation, accuracy) in _ngram_scores(*parts, weightings=weightings, longest=n, cs=cs)
    ]
    best = max(tried, key=lambda score: score.validation)
    everything, weighting = (train.texts, train.labels), best.weighting
    ((*_, (accuracy,)),) = _ngram_scores(
        everything, parts[2], weightings=[weighting], longest=best.longest, cs=[best.c]
    )
    return replace(best, accuracy=accuracy, highest=max(accuracy, *(score.highest for score in tried)))


_Labelled = tuple[Sequence[str], Sequence[int]]


def _ngram_scores(
    fitted: _Labelled, *judged: _Labelled, weightings: Sequence[str], longest: int, cs: Sequence[float]
) -> Iterator[tuple[str, float, tuple[float, ...]]]:
    """Fit each setting to ``fitted``: (weighting, c, its accuracy on each of ``judged``)."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = CountVectorizer(tokenizer=review_words, token_pattern=None, ngram_range=(1, longest), min_df=2)
    counts = vectorizer.fit_transform(fitted[0])
    others = [(vectorizer.transform(texts), labels) for texts, labels in judged]
    for weighting in weightings:
        weigh = _weighting(weighting, counts, fitted[1])
        features, weighed = weigh(counts), [(weigh(other), labels) for other, labels in others]
        for c in cs:
            model = LogisticRegression(C=c, solver="liblinear", max_iter=1000, random_state=0)
            model.fit(features, fitted[1])
            yield weighting, c, tuple(float(model.score(other, labels)) for other, labels in weighed)


def _weighting(name: str, counts: Any, labels: Sequence[int]) -> Callable[[Any], Any]:
    """What turns counts of n-grams (N, V) into features, fitted to ``counts`` and ``labels``."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfTransformer

    if name == "tf-idf":
        fitted: Callable[[Any], Any] = TfidfTransformer().fit(counts).transform
        return fitted
    if name == "count":
        return lambda other: other
    good, seen = np.asarray(labels) == 1, counts > 0
    shares = [1.0 + np.asarray(seen[rows].sum(axis=0), dtype=float).ravel() for rows in (good, ~good)]
    ratio = np.log(shares[0] / shares[0].sum()) - np.log(shares[1] / shares[1].sum())
    return lambda other: (other > 0).multiply(ratio).tocsr()

r"""The linear models to beat on IMDB: logistic regression over n-grams of words, with scikit-learn.

Two weightings, the strongest known for these data: TF-IDF over words and pairs; and presence, weighted by naive Bayes,
over one to three words (Wang and Manning 2012). The strength of the regularization is chosen on the held-out tenth of
the labels, or, with fewer labels than all, by cross-validation in five folds inside them; then the model is fitted to
all its labels. Letters in the shapes: N texts, V n-grams, C classes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from companion.data.labelled import LabelledTexts, split_validation
from companion.experiments.imdb import VALIDATION, Cell
from companion.experiments.imdb_source import UNCALIBRATED, Source, calibration

Weighting = Literal["tf-idf", "naive-bayes"]
TOKEN = r"\w+(?:['’-]\w+)*|[^\w\s]"
"""A word, with what is joined to it by an apostrophe or a hyphen, or one mark: ``10/10`` is three of them."""
FOLDS = 5
RARE_FROM = 1000
"""From so many labels on, an n-gram counts if it stands in two texts at least."""


@dataclass(frozen=True)
class LinearModel:
    """What is tried.

    Attributes:
        weighting: of the n-grams.
        longest: words in the longest of them.
        cs: inverse strengths of the regularization, rising; of equally good ones the first is taken.
    """

    weighting: Weighting
    longest: int
    cs: tuple[float, ...]


LINEAR_MODELS = {
    "nb": LinearModel("naive-bayes", 3, (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)),
    "tfidf": LinearModel("tf-idf", 2, (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)),
}


def naive_bayes_weights(counts: Any, labels: Any) -> Any:
    r"""``log ((p / ‖p‖₁) / (q / ‖q‖₁))`` of each n-gram: how much likelier it is in a positive text than in a negative.

    ``p = 1 + Σ f`` over the positive texts, ``q`` over the negative ones, where f is 1 if the n-gram stands in a text
    (Wang and Manning 2012, section 2.1, with α = 1).

    Args:
        counts: (N, V) sparse, how often each n-gram stands in each text.
        labels: (N,) array, 1 = positive.

    Returns:
        (V,) array.

    >>> import numpy as np
    >>> from scipy.sparse import csr_matrix
    >>> counts = csr_matrix(np.array([[2, 1], [1, 0], [0, 1]]))  # of the words good and film, in three texts
    >>> naive_bayes_weights(counts, np.array([1, 1, 0])).round(4)  # log((3/5) / (1/3)), log((2/5) / (2/3))
    array([ 0.5878, -0.5108])
    """
    import numpy as np

    seen, positive = counts > 0, np.asarray(labels) == 1
    p, q = (1.0 + np.asarray(seen[rows].sum(axis=0), dtype=float).ravel() for rows in (positive, ~positive))
    return np.log(p / p.sum()) - np.log(q / q.sum())


def weigher(kind: Weighting, counts: Any, labels: Any, *, rarest: int) -> Callable[[Any], Any]:
    """What turns counts (N, V) into features, fitted to these texts; n-grams of fewer than ``rarest`` are left out."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfTransformer

    kept = np.flatnonzero(counts.getnnz(axis=0) >= rarest)
    if kind == "tf-idf":
        fitted = TfidfTransformer(sublinear_tf=True).fit(counts[:, kept])
        return lambda other: fitted.transform(other[:, kept])
    weights = naive_bayes_weights(counts[:, kept], labels)
    return lambda other: (other[:, kept] > 0).multiply(weights).tocsr()


@dataclass
class FittedLinear:
    """A linear model, tuned and fitted.

    Attributes:
        vectorizer: counts the n-grams of texts, (N, V).
        decide: from these counts to logits (N, C).
        parameters: weights and one bias.
        c: the inverse strength of regularization that was chosen.
        accuracies: of every strength, on the texts held out.
        rarest: in how many texts an n-gram stands at least.
        held_out: logits (N, C) and classes (N) of the texts held out, by the models that were not fitted to them.
    """

    vectorizer: Any
    decide: Callable[[Any], Tensor]
    parameters: int
    c: float
    accuracies: dict[float, float]
    rarest: int
    held_out: tuple[Tensor, Tensor]


Folds = list[tuple[Any, Any]]


def fit_linear(data: LabelledTexts, spec: LinearModel, folds: Folds) -> FittedLinear:
    """Choose the regularization by the texts that each fold holds out, and fit to everything.

    Args:
        data: texts of two classes.
        spec: what is tried.
        folds: (places of the texts to fit to, places of those held out).
    """
    import numpy as np

    rarest = 2 if len(data) >= RARE_FROM else 1
    vectorizer = _vectorizer(spec.longest, rarest)
    counts, labels = vectorizer.fit_transform(data.texts), np.asarray(data.labels)
    decided: dict[float, list[Any]] = {c: [] for c in spec.cs}
    for fitted, held in folds:
        weigh = weigher(spec.weighting, counts[fitted], labels[fitted], rarest=rarest)
        features, judged = weigh(counts[fitted]), weigh(counts[held])
        for c in spec.cs:
            decided[c].append(_regression(c).fit(features, labels[fitted]).decision_function(judged))
    held_labels = labels[np.concatenate([held for _, held in folds])]
    scores = {c: np.concatenate(values) for c, values in decided.items()}
    accuracies = {c: float(((score > 0) == (held_labels == 1)).mean()) for c, score in scores.items()}
    best = max(spec.cs, key=lambda c: accuracies[c])
    weigh = weigher(spec.weighting, counts, labels, rarest=rarest)
    model = _regression(best).fit(weigh(counts), labels)

    return FittedLinear(
        vectorizer,
        lambda counted: _two_logits(model.decision_function(weigh(counted))),
        model.coef_.size + 1,
        best,
        accuracies,
        rarest,
        held_out=(_two_logits(scores[best]), torch.from_numpy(held_labels)),
    )


def _vectorizer(longest: int, rarest: int) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(token_pattern=TOKEN, ngram_range=(1, longest), min_df=rarest)


def _regression(c: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=c, solver="liblinear", max_iter=1000, random_state=0)


def _two_logits(decision: Any) -> Tensor:
    """The log odds (N,) of the second class as logits (N, 2)."""
    odds = torch.from_numpy(decision)
    return torch.stack([torch.zeros_like(odds), odds], dim=1)


def _one_fold(data: LabelledTexts, seed: int) -> Folds:
    """What the networks hold out, too."""
    import numpy as np

    place = {row: i for i, row in enumerate(data.rows)}
    parts = split_validation(data, VALIDATION, seed=seed)
    fitted, held = (np.array([place[row] for row in part.rows]) for part in parts)
    return [(fitted, held)]


def _cross_validation(data: LabelledTexts, seed: int) -> Folds:
    from sklearn.model_selection import StratifiedKFold

    n = min(FOLDS, *data.counts.values())
    return list(StratifiedKFold(n, shuffle=True, random_state=seed).split(data.texts, data.labels))


@dataclass
class CountedTexts:
    """Texts whose n-grams are counted once, for the many models that are judged on them.

    Attributes:
        texts: the texts, with their classes.
        places: the column of each n-gram.
        counts: (N, V + 1) sparse; nothing stands in the last column.
    """

    texts: LabelledTexts
    places: dict[str, int]
    counts: Any

    def for_vectorizer(self, vectorizer: Any) -> Any:
        """What ``vectorizer.transform`` would make of the texts."""
        none = len(self.places)
        return self.counts[:, [self.places.get(term, none) for term in vectorizer.get_feature_names_out()]].tocsr()


@lru_cache(maxsize=2)
def counted_sample(source: Source, longest: int) -> CountedTexts:
    """The test reviews that judge every model with few labels; a cell would spend most of its time on them."""
    from scipy.sparse import csc_matrix, hstack

    texts, vectorizer = source.few_test(), _vectorizer(longest, 1)
    counts = vectorizer.fit_transform(texts.texts)
    empty = csc_matrix((len(texts), 1), dtype=counts.dtype)
    return CountedTexts(texts, vectorizer.vocabulary_, hstack([counts, empty], format="csc"))


def linear_cell(cell: Cell, source: Source) -> dict[str, Any]:
    """Tune, fit and judge a linear model: what the cell's file says, but for machine, date and command."""
    spec, data, whole = LINEAR_MODELS[cell.model], source.train(cell), source.is_whole(cell)
    began = time.process_time()
    fitted = fit_linear(data, spec, (_one_fold if whole else _cross_validation)(data, cell.seed))
    seconds = time.process_time() - began
    if whole:
        test = source.test(cell)
        counts = fitted.vectorizer.transform(test.texts)
    else:
        sample = counted_sample(source, spec.longest)
        test, counts = sample.texts, sample.for_vectorizer(fitted.vectorizer)
    after = calibration(*fitted.held_out) if whole else UNCALIBRATED
    config = {
        **vars(spec),
        "token": TOKEN,
        "rarest": fitted.rarest,
        "chosen": f"on the {VALIDATION:.0%} held out" if whole else f"by cross-validation, {FOLDS} folds",
        "c": fitted.c,
        "fitted_to": len(data),
    }
    return {
        **source.judge(cell, fitted.decide(counts), test, temperature=after["temperature"] or 1.0),
        "validation_accuracy": fitted.accuracies[fitted.c],
        "seconds": seconds,
        "parameters": fitted.parameters,
        "trained": fitted.parameters,
        "operations": None,
        **after,
        "config": config,
        "tried": [{"c": c, "validation_accuracy": accuracy} for c, accuracy in fitted.accuracies.items()],
    }

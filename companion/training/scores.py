"""How good a classifier is, and how far its probabilities can be believed.

The loss is with the temperature; the one that a training notes is without it.

Letters in the shapes: N texts, C classes.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from companion.data.imdb import rows_also_in
from companion.data.labelled import IMDB, LabelledTexts, Part
from companion.errors import require
from companion.training.calibration import expected_calibration_error, negative_log_likelihood

_Z = 1.959964  # 95 % of a normal distribution lie within that many standard deviations


def class_scores(logits: Tensor, labels: Tensor, names: Sequence[str], *, temperature: float = 1.0) -> dict[str, float]:
    """Accuracy, that of each class, the loss at the temperature, and the calibration error without it and with it.

    Args:
        logits: (N, C), not divided by the temperature.
        labels: (N), the right classes.
        names: of the classes, C.
        temperature: what the logits are divided by.

    >>> logits, labels = torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0]]), torch.tensor([0, 1, 1])
    >>> scores = class_scores(logits, labels, ["neg", "pos"])
    >>> [round(scores[name], 4) for name in ("accuracy", "accuracy_neg", "accuracy_pos")]
    [0.6667, 1.0, 0.5]
    """
    right = (logits.argmax(dim=-1) == labels).double()
    by_class = {
        f"accuracy_{name}": float(right[labels == i].mean())
        for i, name in enumerate(names)
        if bool((labels == i).any())
    }
    ece, calibrated = (
        expected_calibration_error((logits.double() / t).softmax(dim=-1), labels) for t in (1.0, temperature)
    )
    return {
        "accuracy": float(right.mean()),
        **by_class,
        "loss": negative_log_likelihood(logits, labels, temperature=temperature),
        "ece": ece,
        "calibrated_ece": calibrated,
    }


def accuracy_interval(right: int, n: int) -> tuple[float, float]:
    r"""Between which accuracies the true one lies, with 95 % confidence, if ``right`` of ``n`` texts are (Wilson 1927).

    These are the p for which ``|right / n - p| = z √(p (1 - p) / n)``. Unlike ``right / n ± z √(...)`` with the
    measured share in the root, it leaves room where all are right.

    Raises:
        ValueError: there is no text, or more are right than there are.

    >>> [round(p, 3) for p in accuracy_interval(8, 8)]
    [0.676, 1.0]
    """
    require(0 <= right <= n and n > 0, f"{right} of {n} texts cannot be right; give 0 <= right <= n, and n > 0")
    share, z2 = right / n, _Z**2
    middle, half = share + z2 / (2 * n), _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low, high = ((middle + sign * half) / (1 + z2 / n) for sign in (-1, 1))
    return max(0.0, low), min(1.0, high)


def data_scores(
    logits: Tensor, data: LabelledTexts, *, source: str, part: Part, temperature: float = 1.0
) -> dict[str, Any]:
    """:func:`class_scores` of a data set; on IMDB's test split also the accuracy without the texts that train has."""
    labels = torch.tensor(data.labels)
    scores: dict[str, Any] = {"texts": len(data), **class_scores(logits, labels, data.names, temperature=temperature)}
    if (source, part) == (IMDB, "test"):
        scores |= unseen_accuracy(logits, labels, data.rows, set(rows_also_in("test", "train")))
    return scores


def unseen_accuracy(logits: Tensor, labels: Tensor, rows: Sequence[int], seen: Collection[int]) -> dict[str, float]:
    """The accuracy without the rows that were ``seen`` in training, and how many they are."""
    unseen = torch.tensor([row not in seen for row in rows])
    right = (logits.argmax(dim=-1) == labels).double()
    return {"accuracy_unseen": float(right[unseen].mean()), "seen_in_training": int((~unseen).sum())}


def surest_errors(logits: Tensor, labels: Tensor, rows: Sequence[int]) -> list[int]:
    """The rows with a wrong answer, the one first whose answer was surest: where to begin reading.

    Args:
        logits: (N, C).
        labels: (N), the right classes.
        rows: what each text is called, N.

    >>> surest_errors(torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0, 0]), [10, 11, 12])
    [12, 11]
    """
    sure, answers = logits.double().softmax(dim=-1).max(dim=-1)
    order = sure.argsort(descending=True, stable=True).tolist()
    return [rows[i] for i in order if answers[i] != labels[i]]

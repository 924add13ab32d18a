r"""What the saliency lab needs from a classifier: the score of every selection of a sentence's words, and four methods.

Letters in the shapes: W words, N numbers.
"""

import base64
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from companion.errors import require
from companion.models.saliency import gradient_x_input, integrated_gradients, leave_one_out, score_subsets
from companion.models.text_classifier import TextClassifier
from companion.models.word_score import Baseline, WordScore

MOST_WORDS = 10
"""Words of a sentence of which all selections are tried."""
LEVELS = 2**24 - 1  # of a quantised score
#: The numbers of steps for which integrated gradients are kept.
STEPS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
BASELINES: tuple[Baseline, ...] = get_args(Baseline)


def pack_scores(scores: NDArray[np.float64]) -> list[Any]:
    """Numbers (N,) as [lowest, highest, 24-bit steps between them in base64]; the error is at most half a step.

    >>> unpack_scores(pack_scores(np.array([-3.0, 0.5, 1.0]))).round(6).tolist()
    [-3.0, 0.5, 1.0]
    """
    low, high = float(scores.min()), float(scores.max())
    levels = np.rint((scores - low) / ((high - low) or 1.0) * LEVELS).astype("<u4")
    raw = levels.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return [low, high, base64.b64encode(raw).decode()]


def unpack_scores(packed: Sequence[Any]) -> NDArray[np.float64]:
    """What :func:`pack_scores` kept, (N,)."""
    low, high, text = packed
    raw = np.frombuffer(base64.b64decode(text), dtype=np.uint8).reshape(-1, 3).astype(np.int64)
    levels: NDArray[np.float64] = raw @ np.array([1, 256, 65536]) * ((high - low) / LEVELS) + low
    return levels


def saliency_data(
    classifier: TextClassifier, sentences: Sequence[str], *, target: str | None = None, name: str = ""
) -> dict[str, Any]:
    """All that the saliency lab shows of this classifier; of a longer sentence without its subsets.

    Args:
        classifier: what is asked.
        sentences: what it reads.
        target: the name of the class; see :class:`companion.models.word_score.WordScore`.
        name: what the classifier is called.

    Raises:
        ValueError: there is no sentence, one without a word or too long for the model, or no such class.
    """
    require(bool(sentences), "there must be a sentence at least")
    scores = [WordScore(classifier, text, target=target) for text in sentences]
    rows = []
    for score in scores:
        row: dict[str, Any] = {"words": score.text_words, "rollout": _short(score.rollout().tolist())}
        for kind in BASELINES:
            row[kind] = _methods(score, kind)
        rows.append(row)
    return {"classifier": name, "target": scores[0].target, "steps": list(STEPS), "sentences": rows}


def _methods(score: WordScore, kind: Baseline) -> dict[str, Any]:
    x, base, words = score.x, score.baseline(kind), score.words
    ends = [float(score(each[None]).detach()) for each in (x, base)]
    found: dict[str, Any] = {
        "ends": _short(ends),
        "leave": _short(leave_one_out(score, x, base, words=words).tolist()),
        "gradient": _short(gradient_x_input(score, x, base, words=words).tolist()),
        "integrated": [
            _short(integrated_gradients(score, x, base, steps=n, words=words).tolist()) for n in STEPS
        ],
    }  # fmt: skip
    if len(score.text_words) <= MOST_WORDS:
        found["subsets"] = pack_scores(score_subsets(score, x, base, words=words).numpy())
    return found


def _short(values: Sequence[float]) -> list[float]:
    return [round(value, 7) for value in values]

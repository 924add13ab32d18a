r"""How far a classifier's probabilities can be believed, and one number that makes them more honest.

Letters in the shapes: N texts, C classes.
"""

import torch
from torch import Tensor

from companion.errors import require

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
"""Between these a temperature is looked for."""
_AT_THE_EDGE = 1e-7  # nearer than that a float32 is to the number that it stands for


def expected_calibration_error(probabilities: Tensor, labels: Tensor, *, bins: int = BINS) -> float:
    r"""``Σ_b (n_b / N) |accuracy_b - confidence_b|`` (Naeini et al. 2015; Guo et al. 2017, equation 3).

    The texts are put into ``bins`` of equal width by the probability of their most probable class; in each bin that
    probability, on average, should be the share that is right.

    Args:
        probabilities: (N, C), each row sums to 1.
        labels: (N) the right classes.
        bins: how many; a text at an edge counts to the bin below it, also where rounding has put it a trifle above.

    Raises:
        ValueError: there is no text, or not one label for each.

    >>> probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    >>> round(expected_calibration_error(probabilities, torch.tensor([0, 1, 1, 1])), 4)  # (0.4 + 0.4) / 2
    0.4
    """
    _require_pairs(probabilities, labels)
    confidence, guess = probabilities.double().max(dim=-1)
    right = (guess == labels).double()
    place = ((confidence - _AT_THE_EDGE) * bins).ceil().long().clamp(1, bins) - 1
    gaps = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, right - confidence)
    return float(gaps.abs().sum() / len(labels))


def negative_log_likelihood(logits: Tensor, labels: Tensor, *, temperature: float = 1.0) -> float:
    """``-Σ log softmax(z / T)[label] / N`` of logits (N, C) and labels (N).

    >>> round(negative_log_likelihood(torch.zeros(3, 2), torch.tensor([0, 1, 1])), 4)  # log 2
    0.6931
    """
    _require_pairs(logits, labels)
    return float(torch.nn.functional.cross_entropy(logits.double() / temperature, labels))


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    r"""The T for which ``softmax(z / T)`` gives the labels the highest likelihood (Guo et al. 2017, section 4.2).

    Dividing all logits by one number changes no decision, only how sure it is. With ``β = 1 / T`` the loss is convex:
    its slope, ``Σ_n (E[z_n] - z_n[label])`` with the expectation under ``softmax(β z_n)``, grows with β. Its zero is
    found by halving, between :data:`COLDEST` and :data:`HOTTEST`. Where the model is right about every text, the
    likelihood asks for a T of 0, that is, for no doubt ever; so few texts cannot tell, and T stays 1.

    Args:
        logits: (N, C), of texts that the model was not trained on.
        labels: (N) the right classes.

    Raises:
        ValueError: there is no text, or not one label for each.

    >>> z = torch.tensor([[4.0, 0.0]]).repeat(4, 1)  # sure of class 0, which is right three times out of four
    >>> round(fit_temperature(z, torch.tensor([0, 0, 0, 1])), 4)  # 4 / T = log 3
    3.641
    """
    _require_pairs(logits, labels)
    z = logits.double()
    if bool((z.argmax(dim=-1) == labels).all()):
        return 1.0
    right = z.gather(1, labels[:, None]).sum()
    low, high = 1.0 / HOTTEST, 1.0 / COLDEST
    for _ in range(60):
        beta = (low * high) ** 0.5
        slope = ((beta * z).softmax(dim=-1) * z).sum() - right
        low, high = (beta, high) if slope < 0 else (low, beta)
    return 2.0 / (low + high)


def _require_pairs(scores: Tensor, labels: Tensor) -> None:
    require(
        scores.dim() == 2 and labels.shape == scores.shape[:1] and len(labels) > 0,
        lambda: f"expected (N, C) and (N) with N of at least 1; got {tuple(scores.shape)} and {tuple(labels.shape)}",
    )

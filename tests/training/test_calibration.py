"""Calibration: the error of a known case, and a temperature that is the best one and changes no decision."""

import math

import pytest
import torch
from torch.nn import functional as F

from companion.training.calibration import (
    COLDEST,
    HOTTEST,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)

N, C = 400, 3


def overconfident(factor: float):
    """Logits whose softmax at temperature ``factor`` is exactly what the labels are drawn from."""
    generator = torch.Generator().manual_seed(0)
    honest = 1.5 * torch.randn(N, C, generator=generator)
    labels = torch.multinomial(honest.softmax(-1), 1, generator=generator)[:, 0]
    return factor * honest, labels


def test_the_error_by_hand():
    probabilities = torch.tensor([[0.8, 0.2]] * 10 + [[0.35, 0.65]] * 10)
    labels = torch.tensor([0] * 6 + [1] * 4 + [1] * 9 + [0])
    # the first bin is right in 6 of 10 cases at 0.8, the second in 9 of 10 at 0.65
    assert expected_calibration_error(probabilities, labels) == pytest.approx(0.5 * 0.2 + 0.5 * 0.25, abs=1e-6)
    assert expected_calibration_error(probabilities, labels, bins=1) == pytest.approx(0.75 - 0.725, abs=1e-6)


def test_a_model_that_is_as_right_as_it_is_sure_has_no_error():
    probabilities = torch.tensor([[0.75, 0.25]] * 4)
    assert expected_calibration_error(probabilities, torch.tensor([0, 0, 0, 1])) == pytest.approx(0.0, abs=1e-7)
    assert expected_calibration_error(torch.tensor([[1.0, 0.0]]), torch.tensor([0])) == 0.0


@pytest.mark.parametrize("bins", [10, 15])
def test_a_text_at_an_edge_counts_to_the_bin_below_it_in_every_precision(bins):
    for edge in range(bins // 2 + 1, bins):
        p, middle = edge / bins, (edge - 0.5) / bins
        rows = torch.tensor([[p, 1 - p], [middle, 1 - middle]], dtype=torch.float64)  # of one bin: the gaps add up
        labels = torch.tensor([1, 0])
        together = abs((0 - p) + (1 - middle)) / 2
        for kind in (torch.float32, torch.float64):
            assert expected_calibration_error(rows.to(kind), labels, bins=bins) == pytest.approx(together, abs=1e-6)
        above = torch.tensor([[p + 1e-5, 1 - p - 1e-5], [middle, 1 - middle]])
        apart = ((p + 1e-5) + (1 - middle)) / 2
        assert expected_calibration_error(above, labels, bins=bins) == pytest.approx(apart, abs=1e-6)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_a_factor_and_is_the_best_one(factor):
    logits, labels = overconfident(factor)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(factor, rel=0.15)
    best = negative_log_likelihood(logits, labels, temperature=temperature)
    for other in (0.9, 0.99, 1.01, 1.1):
        assert best < negative_log_likelihood(logits, labels, temperature=other * temperature)
    assert torch.equal((logits / temperature).argmax(-1), logits.argmax(-1))
    before, after = (expected_calibration_error((logits / t).softmax(-1), labels) for t in (1.0, temperature))
    assert after < before or factor == 1.0


def test_the_loss_is_pytorchs():
    logits, labels = overconfident(2.0)
    expected = F.cross_entropy(logits.double() / 2.0, labels).item()
    assert negative_log_likelihood(logits, labels, temperature=2.0) == pytest.approx(expected, abs=1e-12)


def test_a_temperature_has_bounds_where_there_is_no_best_one():
    right, wrong = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert fit_temperature(right, torch.tensor([0])) == 1.0  # texts that are all right do not tell
    hardly_wrong = torch.tensor([[1.0, 0.0], [0.0, 1e-12]])
    assert fit_temperature(hardly_wrong, torch.tensor([0, 0])) == pytest.approx(COLDEST, rel=1e-6)
    assert fit_temperature(wrong, torch.tensor([0])) == pytest.approx(HOTTEST, rel=1e-6)
    assert math.isfinite(negative_log_likelihood(wrong, torch.tensor([0]), temperature=COLDEST))


def test_what_does_not_fit_together():
    for scores, labels in (
        (torch.zeros(2, 3), torch.zeros(3)),
        (torch.zeros(2), torch.zeros(2)),
        (torch.zeros(0, 2),) * 2,
    ):
        with pytest.raises(ValueError, match=r"expected \(N, C\) and \(N\)"):
            fit_temperature(scores, labels)

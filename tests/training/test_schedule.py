"""Schedules at their corners, and beside PyTorch's."""

import math

import pytest
import torch
from torch.optim import lr_scheduler

from companion import TrainConfig
from companion.training.schedule import learning_rate, trapezoid, warmup_constant, warmup_cosine, warmup_linear

PEAK, FLOOR, TOTAL, WARMUP = 0.4, 0.1, 50, 8


def rates(schedule) -> list[float]:
    return [schedule(step) for step in range(TOTAL + 1)]


def torch_rates(make) -> list[float]:
    """What a PyTorch scheduler sets, step by step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
    scheduler, found = make(optimizer), []
    for _ in range(TOTAL + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def rising(optimizer):
    # In step s the rate is (s + 1) / WARMUP of the peak.
    return lr_scheduler.LinearLR(optimizer, 1 / WARMUP, 1.0, total_iters=WARMUP - 1)


def after_warmup(optimizer, second):
    return lr_scheduler.SequentialLR(optimizer, [rising(optimizer), second], milestones=[WARMUP])


def test_cosine_is_pytorchs():
    ours = rates(lambda s: warmup_cosine(s, peak=PEAK, total=TOTAL, floor=FLOOR))
    theirs = torch_rates(lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL, eta_min=FLOOR))
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_cosine_after_a_warmup_is_pytorchs():
    ours = rates(lambda s: warmup_cosine(s, peak=PEAK, total=TOTAL, warmup=WARMUP, floor=FLOOR))
    theirs = torch_rates(
        lambda o: after_warmup(o, lr_scheduler.CosineAnnealingLR(o, TOTAL - WARMUP, eta_min=FLOOR)),
    )
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_linear_after_a_warmup_is_pytorchs():
    ours = rates(lambda s: warmup_linear(s, peak=PEAK, total=TOTAL, warmup=WARMUP, floor=FLOOR))
    theirs = torch_rates(
        lambda o: after_warmup(o, lr_scheduler.LinearLR(o, 1.0, FLOOR / PEAK, total_iters=TOTAL - WARMUP))
    )
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_constant_after_a_warmup_is_pytorchs():
    assert rates(lambda s: warmup_constant(s, peak=PEAK, warmup=WARMUP)) == pytest.approx(torch_rates(rising))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "trapezoid"])
def test_corners(schedule):
    decay = {"decay_steps": 10} if schedule == "trapezoid" else {}
    config = TrainConfig(max_steps=TOTAL, peak_lr=PEAK, min_lr=FLOOR, warmup_steps=WARMUP, schedule=schedule, **decay)
    found = rates(lambda s: learning_rate(s, config))
    assert found[0] == PEAK / WARMUP and found[WARMUP - 1] == PEAK == found[WARMUP]
    assert found[:WARMUP] == sorted(found[:WARMUP]) and found[WARMUP:] == sorted(found[WARMUP:], reverse=True)
    assert found[TOTAL] == pytest.approx(PEAK if schedule == "constant" else FLOOR)
    assert learning_rate(TOTAL + 100, config) == pytest.approx(found[TOTAL])
    halfway = (WARMUP + TOTAL) // 2
    expected = {"cosine": (PEAK + FLOOR) / 2, "linear": (PEAK + FLOOR) / 2}.get(schedule, PEAK)
    assert found[halfway] == pytest.approx(expected)


def test_the_trapezoid_is_level_until_its_last_steps():
    found = rates(lambda s: trapezoid(s, peak=PEAK, total=TOTAL, warmup=WARMUP, decay=10, floor=FLOOR))
    assert found[WARMUP : TOTAL - 10 + 1] == [PEAK] * (TOTAL - 10 + 1 - WARMUP)
    assert found[TOTAL - 5] == pytest.approx((PEAK + FLOOR) / 2)
    longer = [trapezoid(s, peak=PEAK, total=2 * TOTAL, warmup=WARMUP, decay=10, floor=FLOOR) for s in range(TOTAL - 9)]
    assert longer == found[: TOTAL - 9]  # until it falls, it does not depend on the total


def test_a_run_shorter_than_its_warmup_still_has_a_rate():
    for schedule in ("cosine", "linear", "constant", "trapezoid"):
        decay = {"decay_steps": 1} if schedule == "trapezoid" else {}
        config = TrainConfig(max_steps=3, peak_lr=PEAK, warmup_steps=WARMUP, schedule=schedule, **decay)
        assert [learning_rate(s, config) for s in range(3)] == pytest.approx([PEAK * k / WARMUP for k in (1, 2, 3)])
    assert math.isclose(warmup_cosine(7, peak=PEAK, total=3, warmup=WARMUP), PEAK)

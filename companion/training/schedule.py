r"""Learning rates as functions of the step, so that they can be plotted without an optimizer.

``step`` counts the updates already made: the first one is made with the rate of step 0. All schedules rise along a line
from peak / warmup to the peak, and all but the constant one stand at ``floor`` when ``total`` updates have been made.
"""

import math

from companion.config import TrainConfig


def warmup_constant(step: int, *, peak: float, warmup: int = 0) -> float:
    """Up along a line, then the peak for ever.

    >>> [warmup_constant(step, peak=0.5, warmup=2) for step in (0, 1, 1000)]
    [0.25, 0.5, 0.5]
    """
    return peak * _rise(step, warmup)


def warmup_linear(step: int, *, peak: float, total: int, warmup: int = 0, floor: float = 0.0) -> float:
    """Up along a line, then down along a line (Devlin et al. 2019, appendix A.2).

    >>> [warmup_linear(step, peak=1.0, total=10, warmup=2) for step in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return peak * _rise(step, warmup)
    return floor + (peak - floor) * (1.0 - _progress(step, total, warmup))


def warmup_cosine(step: int, *, peak: float, total: int, warmup: int = 0, floor: float = 0.0) -> float:
    r"""Up along a line, then down along half a cosine (Loshchilov and Hutter 2017, equation 5, without restarts).

    With p the share of the way from ``warmup`` to ``total``: ``floor + (peak - floor) (1 + cos πp) / 2``.

    >>> [round(warmup_cosine(step, peak=1.0, total=10, warmup=2), 6) for step in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return peak * _rise(step, warmup)
    return floor + (peak - floor) * (1.0 + math.cos(math.pi * _progress(step, total, warmup))) / 2.0


def trapezoid(step: int, *, peak: float, total: int, warmup: int = 0, decay: int = 0, floor: float = 0.0) -> float:
    """Up along a line, level, then down along a line in the last ``decay`` steps (Hu et al. 2024; Zhai et al. 2022).

    Until it falls it does not depend on ``total``: a run on its plateau can be made longer than was planned. With
    ``decay=0`` it never falls.

    >>> [trapezoid(step, peak=1.0, total=10, warmup=2, decay=4) for step in (0, 1, 5, 6, 8, 10)]
    [0.5, 1.0, 1.0, 1.0, 0.5, 0.0]
    """
    left = max(0, total - step)
    fall = 1.0 if left >= decay else left / decay
    return min(peak * _rise(step, warmup), floor + (peak - floor) * fall)


def learning_rate(step: int, config: TrainConfig) -> float:
    """The rate of the update that follows ``step`` others.

    >>> learning_rate(0, TrainConfig(max_steps=10, peak_lr=1.0, schedule="constant", warmup_steps=4))
    0.25
    """
    c = config
    if c.schedule == "constant":
        return warmup_constant(step, peak=c.peak_lr, warmup=c.warmup_steps)
    if c.schedule == "trapezoid":
        return trapezoid(
            step, peak=c.peak_lr, total=c.max_steps, warmup=c.warmup_steps, decay=c.decay_steps, floor=c.min_lr
        )
    fall = warmup_linear if c.schedule == "linear" else warmup_cosine
    return fall(step, peak=c.peak_lr, total=c.max_steps, warmup=c.warmup_steps, floor=c.min_lr)


def _rise(step: int, warmup: int) -> float:
    return 1.0 if step >= warmup else (step + 1) / warmup


def _progress(step: int, total: int, warmup: int) -> float:
    return min(1.0, (step - warmup) / max(1, total - warmup))

"""How a model is trained."""

from dataclasses import dataclass
from typing import Literal

from companion.config.base import Config, check_at_least, check_choice, check_number
from companion.errors import require

Precision = Literal["fp32", "bf16"]
Schedule = Literal["cosine", "linear", "constant", "trapezoid"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """How a model is trained: by AdamW (Loshchilov and Hutter 2019), with a rate that follows a schedule.

    Attributes:
        max_steps: number of updates of the weights.
        batch_size: rows a micro-batch, for whoever builds the stream; the trainer takes what the stream gives.
        grad_accum_steps: micro-batches a step. Their losses are summed and divided once by the number of all targets,
            so k micro-batches give exactly the gradient of one batch that is k times as large.
        peak_lr: the learning rate after the warm-up.
        min_lr: the rate that the schedule falls to.
        schedule: how it gets there; see :mod:`companion.training.schedule`.
        warmup_steps: steps in which the rate rises from near 0 to the peak.
        decay_steps: of ``"trapezoid"``, which needs it, alone: how many of the last steps it takes to fall.
        weight_decay: share of a weight that AdamW takes away each step, times the rate. Only the matrices of linear
            layers decay; see :func:`companion.training.optimizer.decay_groups`.
        betas: memory of AdamW's two moving averages, of the gradient and of its square.
        eps: what AdamW adds to the root of the second average.
        grad_clip: a gradient whose norm (over all parameters) is larger is scaled down to it; 0 = never.
        precision: ``"bf16"`` lets matrix products run in bfloat16; see :func:`companion.runtime.precision`.
        seed: where the randomness of dropout starts.
        eval_every: steps between evaluations on held-out batches, where the trainer was given some; the end of training
            is always evaluated. 0 = at the end only.
        checkpoint_every: steps between checkpoints, where there is a folder for them; the end of training is always
            saved. 0 = at the end only.
        keep_checkpoints: how many of the newest checkpoints stay; older ones are removed.
        snapshots: steps whose checkpoints are made in any case and never removed.

    >>> TrainConfig(max_steps=1000, warmup_steps=100).schedule
    'cosine'
    >>> TrainConfig(max_steps=0)
    Traceback (most recent call last):
    ...
    ValueError: max_steps=0 must be a whole number of at least 1
    """

    max_steps: int
    batch_size: int = 32
    grad_accum_steps: int = 1
    peak_lr: float = 3e-4
    min_lr: float = 0.0
    schedule: Schedule = "cosine"
    warmup_steps: int = 0
    decay_steps: int = 0
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    grad_clip: float = 1.0
    precision: Precision = "fp32"
    seed: int = 0
    eval_every: int = 0
    checkpoint_every: int = 0
    keep_checkpoints: int = 2
    snapshots: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("betas", "snapshots"):  # TOML and JSON know lists only
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, least in _LEAST.items():
            check_at_least(name, getattr(self, name), least)
        for step in self.snapshots:
            check_at_least("snapshots", step, 0)
        check_choice("schedule", self.schedule, Schedule)
        check_choice("precision", self.precision, Precision)
        for name in ("peak_lr", "min_lr", "eps", "weight_decay", "grad_clip"):
            check_number(name, getattr(self, name), positive=name in ("peak_lr", "eps"))
        require(self.min_lr <= self.peak_lr, f"min_lr={self.min_lr} must be at most peak_lr={self.peak_lr}")
        for beta in self.betas:
            check_number("betas", beta, positive=False)
        require(len(self.betas) == 2 and max(self.betas) < 1, f"betas={self.betas} must be two numbers in [0, 1)")
        require(
            self.decay_steps == 0 or self.schedule == "trapezoid",
            f"decay_steps={self.decay_steps} belongs to schedule='trapezoid', but schedule={self.schedule!r}",
        )
        require(
            self.decay_steps > 0 or self.schedule != "trapezoid",
            "schedule='trapezoid' with decay_steps=0 would never fall; set decay_steps, or take schedule='constant'",
        )


_LEAST = {
    "max_steps": 1,
    "batch_size": 1,
    "grad_accum_steps": 1,
    "warmup_steps": 0,
    "decay_steps": 0,
    "seed": 0,
    "eval_every": 0,
    "checkpoint_every": 0,
    "keep_checkpoints": 1,
}

"""The training loop."""

import copy
import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import nullcontext
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from companion.config import TrainConfig
from companion.data.stream import Batch
from companion.errors import require
from companion.runtime import precision
from companion.training import distributed
from companion.training.checkpoint import save_checkpoint
from companion.training.evaluation import evaluate
from companion.training.gradients import SummedLosses, accumulate_gradients, count_targets
from companion.training.interrupt import polite_interrupt
from companion.training.objectives import Objective
from companion.training.optimizer import adamw
from companion.training.randomness import seeded, step_seed
from companion.training.schedule import learning_rate

Record = dict[str, float]

MAY_CHANGE = ("max_steps", "eval_every", "checkpoint_every", "keep_checkpoints", "snapshots")
"""Fields of :class:`companion.TrainConfig` that a resumed run may set anew."""


class Trainer:
    """Trains a model on a stream of batches, towards an objective.

    A step takes ``config.grad_accum_steps`` batches, counts their targets, sums the losses' gradients divided by these
    counts, clips, and updates by AdamW. What is random in it (dropout) starts from ``(config.seed, step)``; torch's own
    generators are left as they were. So a run is a function of the configuration, the model's first weights and the
    stream, and a run that was saved, killed and taken up again ends with the same bits as one that was not.

    If ``torch.distributed`` runs (see :func:`companion.training.distributed.join`), the processes train together: the
    stream gives each its share.

    Args:
        model: what is trained, in place.
        stream: endless batches; if it has ``state_dict`` and ``load_state_dict``, checkpoints hold its position.
        objective: what is minimised.
        config: how.
        device: where the model is moved to; None = it stays where it is.
        eval_batches: held-out batches that :meth:`fit` evaluates on; gone through anew each time.

    Attributes:
        step: updates made so far.
        history: one record for each step: ``step``, ``loss`` and its terms, ``lr``, ``grad_norm`` before clipping,
            ``tokens`` (no padding among them), ``seconds``; after an evaluation also ``valid_loss`` and so on.
        interrupted: whether the last :meth:`fit` was ended by Ctrl-C or a polite signal.
    """

    def __init__(
        self,
        model: nn.Module,
        stream: Iterator[Batch],
        objective: Objective,
        config: TrainConfig,
        *,
        device: torch.device | str | None = None,
        eval_batches: Iterable[Batch] | None = None,
    ) -> None:
        self.device = next(model.parameters()).device if device is None else torch.device(device)
        self.model, self.stream, self.objective = model.to(self.device), stream, objective
        self.config, self.eval_batches = config, eval_batches
        self.optimizer = adamw(model, config)
        self.step = 0
        self.history: list[Record] = []
        self.interrupted = False
        self._losses = distributed.parallel(SummedLosses(model, objective))
        self._parameters = [p for group in self.optimizer.param_groups for p in group["params"]]

    def train_step(self) -> Record:
        """One update of the weights; its record, which is not yet in the history.

        Raises:
            FloatingPointError: the gradient is not finite. The weights are those from before the step.
            ValueError: the stream has ended.
        """
        began = time.perf_counter()
        rate = learning_rate(self.step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if not self.model.training:
            self.model.train()
        batches = self._next_batches()
        counts = distributed.sum_counts(count_targets(self.objective, batches))
        self.optimizer.zero_grad(set_to_none=True)
        with seeded(step_seed(self.config.seed, self.step, distributed.rank()), self.device):
            terms = self._backward([batch.to(self.device) for batch in batches], counts)
        norm = nn.utils.clip_grad_norm_(self._parameters, self.config.grad_clip or math.inf)
        losses, grad_norm = self._numbers(terms, norm)
        self.optimizer.step()
        self.step += 1
        return {
            "step": self.step,
            "loss": sum(losses.values()),
            **losses,
            "lr": rate,
            "grad_norm": grad_norm,
            "tokens": counts["tokens"],
            "seconds": time.perf_counter() - began,
        }

    def fit(
        self,
        *,
        until: int | None = None,
        progress: bool | None = None,
        on_step: Callable[[Record], None] | None = None,
        checkpoint_dir: str | PathLike[str] | None = None,
    ) -> list[Record]:
        """Train until ``config.max_steps`` updates are made, or ``until`` that many; the whole history.

        The first Ctrl-C lets the step end, saves and returns.

        Args:
            until: a step to pause at.
            progress: whether to show a bar; None = on a terminal only.
            on_step: called with the record of each step.
            checkpoint_dir: the run's folder; None = nothing is saved.

        Raises:
            FloatingPointError: as :meth:`train_step`.
            OSError: a checkpoint could not be written.
        """
        end = self.config.max_steps if until is None else min(until, self.config.max_steps)
        if checkpoint_dir is not None and self.step == 0 and 0 in self.config.snapshots:
            self.save(checkpoint_dir)
        self.interrupted = False
        with polite_interrupt() as request, self._bar(end, progress) as bar:
            while self.step < end and not self.interrupted:
                record = self.train_step()
                self.interrupted = distributed.any_of(request.stop)
                if self.eval_batches is not None and self._due(self.config.eval_every):
                    record |= {f"valid_{name}": value for name, value in self.evaluate(self.eval_batches).items()}
                self.history.append(record)
                if on_step is not None:
                    on_step(record)
                bar.update()
                bar.set_postfix(loss=f"{record['loss']:.3f}", refresh=False)
                last = self.step == end or self.interrupted or self.step in self.config.snapshots
                if checkpoint_dir is not None and (last or self._due(self.config.checkpoint_every)):
                    self.save(checkpoint_dir)
        return self.history

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """:func:`companion.training.evaluation.evaluate` with this trainer's model, objective and precision."""
        kind = self.config.precision
        return evaluate(self.model, batches, self.objective, kind=kind, device=self.device)

    def save(self, checkpoint_dir: str | PathLike[str]) -> None:
        """Write a checkpoint into the run's folder, by the first process alone."""
        error: OSError | None = None
        if distributed.rank() == 0:
            keep, snapshots = self.config.keep_checkpoints, self.config.snapshots
            try:
                save_checkpoint(checkpoint_dir, self.state_dict(), keep=keep, keep_steps=snapshots)
            except OSError as failure:
                error = failure
        if distributed.any_of(error is not None):  # in all processes, or the others would wait for ever
            raise error or OSError("the first process could not write the checkpoint; see its message")

    def state_dict(self) -> dict[str, Any]:
        """All that training needs to go on as if nothing had happened; tensors are not copied.

        There is no state of a random generator: what is random in a step follows from ``config.seed`` and ``step``.
        """
        return {
            "step": self.step,
            "config": self.config.to_dict(),
            "model_kind": type(self.model).__name__,
            "model_config": _fields(getattr(self.model, "config", None)),
            "objective": {"kind": type(self.objective).__name__, **_fields(self.objective)},
            "processes": distributed.world_size(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stream": self.stream.state_dict() if hasattr(self.stream, "state_dict") else None,
            "history": self.history,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave.

        Raises:
            ValueError: it comes from another configuration, model or objective; the message names the fields. Only
                those in :data:`MAY_CHANGE` may differ.
        """
        for what, kind, thing in (
            ("model", state["model_kind"], self.model),
            ("objective", state["objective"]["kind"], self.objective),
        ):
            mine = type(thing).__name__
            require(kind == mine, f"the checkpoint's {what} is a {kind}; this one is a {mine}")
        _require_same("configuration", state["config"], self.config, ignore=MAY_CHANGE)
        _require_same("model", state["model_config"], getattr(self.model, "config", None))
        _require_same("objective", state["objective"], self.objective, ignore=["kind"])
        if state["processes"] != distributed.world_size():
            warnings.warn(
                f"the checkpoint was made by {state['processes']} processes and goes on in {distributed.world_size()}: "
                "a sound continuation, but not bit for bit what it would have been",
                stacklevel=2,
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # else both would update the same tensors
        if state["stream"] is not None:
            self.stream.load_state_dict(state["stream"])  # type: ignore[attr-defined]
        self.step, self.history = state["step"], copy.deepcopy(state["history"])

    def _next_batches(self) -> list[Batch]:
        batches = []
        for _ in range(self.config.grad_accum_steps):
            batch = next(self.stream, None)
            if batch is None:
                raise ValueError(f"the stream of batches ended at step {self.step}; a trainer needs an endless one")
            batches.append(batch)
        return batches

    def _backward(self, batches: list[Batch], counts: dict[str, int]) -> dict[str, Tensor]:
        return accumulate_gradients(
            self._losses,
            batches,
            counts,
            unsynchronized=getattr(self._losses, "no_sync", nullcontext),
            precision=lambda: precision(self.config.precision, device=self.device),
        )

    def _numbers(self, terms: dict[str, Tensor], norm: Tensor) -> tuple[dict[str, float], float]:
        """Losses and gradient norm as numbers, fetched from the device at once."""
        values = distributed.sum_values(torch.stack(list(terms.values())))
        *losses, grad_norm = torch.cat([values, norm.to(values.dtype)[None]]).tolist()
        named = dict(zip(terms, losses, strict=True))
        if not math.isfinite(grad_norm):
            raise FloatingPointError(
                f"the gradient of step {self.step} is not finite (losses {named}); the weights are those from before "
                "the step. Lower peak_lr, lengthen warmup_steps, or look at the data of this step"
            )
        return named, grad_norm

    def _due(self, every: int) -> bool:
        return self.step == self.config.max_steps or (every > 0 and self.step % every == 0)

    def _bar(self, end: int, progress: bool | None) -> Any:
        from tqdm import tqdm

        hidden = None if progress is None else not progress  # tqdm hides itself where there is no terminal
        if distributed.rank() > 0:
            hidden = True
        return tqdm(total=end, initial=self.step, unit="step", disable=hidden)


def _fields(config: object) -> dict[str, Any]:
    """A dataclass's fields; none of anything else."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return {}
    return dataclasses.asdict(config)


def _require_same(what: str, saved: dict[str, Any], config: object, *, ignore: Collection[str] = ()) -> None:
    """Require that a checkpoint's fields are those of ``config``; one it does not know had its default."""
    mine = _fields(config)
    defaults = {f.name: f.default for f in dataclasses.fields(config)} if mine else {}  # type: ignore[arg-type]
    saved = {**defaults, **saved}
    differing = [
        f"{name} was {saved.get(name)!r} and is {mine.get(name)!r}"
        for name in {**mine, **saved}
        if name not in ignore and saved.get(name) != mine.get(name)
    ]
    require(
        not differing,
        lambda: (
            f"the checkpoint belongs to another {what}: {'; '.join(differing)}. "
            "Take the old values to go on, or start a run in another folder"
        ),
    )

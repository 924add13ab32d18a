"""The training loop."""

import copy
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
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
from companion.training.checkpoint import checkpoint_step, latest_checkpoint, save_checkpoint
from companion.training.compatibility import fields_of, require_same_run
from companion.training.evaluation import evaluate
from companion.training.gradients import SummedLosses, accumulate_gradients, count_targets
from companion.training.interrupt import polite_interrupt
from companion.training.objectives import Objective
from companion.training.optimizer import adamw
from companion.training.randomness import seeded, step_seed
from companion.training.schedule import learning_rate

Record = dict[str, float]


class Trainer:
    """Trains a model on a stream of batches, towards an objective.

    A step takes ``config.grad_accum_steps`` batches, counts their targets, sums the losses' gradients divided by these
    counts, clips, and updates by AdamW. What is random in it (dropout) starts from ``(config.seed, step)``; torch's own
    generators are left as they were. So a run is a function of the configuration, the model's first weights and the
    stream, and a run that was saved, killed and taken up again ends with the same bits as one that was not: on a CPU,
    with as many threads and processes as before. Some of PyTorch's kernels for GPUs add in any order, unless
    ``torch.use_deterministic_algorithms(True)`` forbids it.

    If ``torch.distributed`` runs (see :func:`companion.training.distributed.join`), the processes train together: the
    stream gives each its share.

    Args:
        model: what is trained, in place.
        stream: endless batches; if it has ``state_dict`` and ``load_state_dict``, checkpoints hold its position.
        objective: what is minimised.
        config: how.
        device: where the model is moved to; None = it stays where it is.
        eval_batches: held-out batches that :meth:`fit` evaluates on; gone through anew each time.
        rate_of: a factor of the learning rate for each parameter's name; see
            :func:`companion.training.optimizer.decay_groups`.

    Attributes:
        step: updates made so far.
        history: one record for each step: ``step``, ``loss`` and its terms, ``lr``, ``grad_norm`` before clipping,
            ``tokens`` (no padding among them), ``seconds``; after an evaluation also ``valid_loss`` and so on.
        interrupted: whether the last :meth:`fit` was ended by Ctrl-C or a polite signal.

    >>> from itertools import repeat
    >>> from companion import GPT, Trainer, TransformerConfig
    >>> from companion.training.objectives import NextToken
    >>> model = GPT(TransformerConfig(vocab_size=9, d_model=8))
    >>> batches = repeat(Batch(torch.tensor([[1, 2, 3, 4, 5]])))
    >>> trainer = Trainer(model, batches, NextToken(), TrainConfig(max_steps=20, peak_lr=0.01))
    >>> history = trainer.fit()
    >>> len(history), history[-1]["loss"] < history[0]["loss"]
    (20, True)
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
        rate_of: Callable[[str], float] | None = None,
    ) -> None:
        self.device = next(model.parameters()).device if device is None else torch.device(device)
        self.model, self.stream, self._objective = model.to(self.device), stream, objective
        self.config, self.eval_batches = config, eval_batches
        self.optimizer = adamw(model, config, rate_of=rate_of)
        self.step = 0
        self.history: list[Record] = []
        self.interrupted = False
        self._losses = distributed.parallel(SummedLosses(model, objective))
        self._parameters = [p for group in self.optimizer.param_groups for p in group["params"]]

    @property
    def objective(self) -> Objective:
        """What is minimised, from the beginning on: it cannot be replaced."""
        return self._objective

    def train_step(self) -> Record:
        """One update of the weights; its record, which is not yet in the history.

        Raises:
            FloatingPointError: the gradient is not finite. The weights are those from before the step.
            ValueError: the stream has ended.
        """
        began = time.perf_counter()
        rate = learning_rate(self.step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("rate_factor", 1.0)
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
            ValueError: a run at its beginning was given the folder of another one.
        """
        if checkpoint_dir is not None:
            self._require_own(checkpoint_dir)
        end = self.config.max_steps if until is None else min(until, self.config.max_steps)
        if checkpoint_dir is not None and self.step == 0 and 0 in self.config.snapshots:
            self.save(checkpoint_dir)
        self.interrupted = False
        with polite_interrupt() as request, self._bar(end, progress) as bar:
            while self.step < end and not self.interrupted and not self.finished:
                record = self.train_step()
                self.interrupted = distributed.any_of(request.stop)
                if self.eval_batches is not None and self._due(self.config.eval_every):
                    scores = self.evaluate(self.eval_batches)
                    record |= {f"valid_{name}": value for name, value in scores.items()}
                    self.judge(scores)
                self.history.append(record)
                if on_step is not None:
                    on_step(record)
                bar.update()
                bar.set_postfix(loss=f"{record['loss']:.3f}", refresh=False)
                last = self.step == end or self.finished or self.interrupted or self.step in self.config.snapshots
                if checkpoint_dir is not None and (last or self._due(self.config.checkpoint_every)):
                    self.save(checkpoint_dir)
        return self.history

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.step >= self.config.max_steps

    def judge(self, scores: dict[str, float]) -> None:
        """Called with the scores of each evaluation in :meth:`fit`; here nothing follows from them."""

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
            "model_config": fields_of(getattr(self.model, "config", None)),
            "objective": {"kind": type(self.objective).__name__, **fields_of(self.objective)},
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
                those in :data:`companion.training.compatibility.MAY_CHANGE` may differ.
        """
        require_same_run(state, self.model, self.objective, self.config, n_trained=len(self._parameters))
        if state["processes"] != distributed.world_size():
            warnings.warn(
                f"the checkpoint was made by {state['processes']} processes and goes on in {distributed.world_size()}: "
                "a sound continuation, but not bit for bit what it would have been",
                stacklevel=2,
            )
        self._load_stream(state["stream"], state["step"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # else both would update the same tensors
        self.step, self.history = state["step"], copy.deepcopy(state["history"])

    def _load_stream(self, state: Any, step: int) -> None:
        load = getattr(self.stream, "load_state_dict", None)
        if state is not None and load is not None:
            load(state)
        elif step > 0:
            warnings.warn(
                f"the stream of batches has no state, so step {step} goes on with whatever it gives next; give it "
                "state_dict and load_state_dict to go on where it was",
                stacklevel=3,
            )

    def _require_own(self, checkpoint_dir: str | PathLike[str]) -> None:
        """A new run in the folder of an older one would lose its checkpoints among those."""
        newest = latest_checkpoint(checkpoint_dir) if distributed.rank() == 0 and self.step == 0 else None
        taken = newest is not None and checkpoint_step(newest) > 0
        require(
            not distributed.any_of(taken),
            lambda: (
                f"{checkpoint_dir} holds a run that is further on; go on with it by "
                "trainer.load_state_dict(load_checkpoint(...)), or take another folder"
            ),
        )

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

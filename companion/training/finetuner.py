"""The trainer of a fine-tuning: judged on held-out texts, it keeps the best weights and knows when to stop."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from companion.config import TrainConfig
from companion.data.long_texts import Passages
from companion.data.stream import Batch, BatchStream, Examples
from companion.errors import require
from companion.models.classifier import TransformerClassifier
from companion.models.text_classifier import mean_by_text
from companion.training.calibration import expected_calibration_error, fit_temperature, negative_log_likelihood
from companion.training.compatibility import fields_of, require_same
from companion.training.finetune_config import FineTuneRun
from companion.training.loop import Record, Trainer
from companion.training.objectives import Classification, Objective

SECTIONS = ("model", "data", "finetune", "lora")
MAY_CHANGE = ("epochs", "least_steps", "warmup", "evaluations", "patience")
"""Fields of the section [finetune] that a resumed run may set anew; what follows from them is set anew with them."""
FEWEST_FOR_TEMPERATURE = 100
"""To fewer held-out texts no temperature is fitted: it would say more about these few than about the model."""
FEW_STEPS = 100
"""With fewer updates a model has hardly learned its texts, however few they are (Zhang et al. 2021). A probe may
need fewer, but there the others cost next to nothing."""


class FeatureProbe(nn.Module):
    """A classifier whose trunk is frozen, on features that were computed once: its ids are numbers of texts.

    Args:
        classifier: what is trained; only its head needs a gradient.
        features: (N, D), what each text is summed up by.
        lengths: of the passages that the trunk has read for it; see :mod:`companion.training.operations`.
    """

    def __init__(self, classifier: TransformerClassifier, features: Tensor, lengths: Tensor) -> None:
        super().__init__()
        self.classifier, self.config, self.lengths = classifier, classifier.config, lengths
        self.register_buffer("table", features, persistent=False)  # they follow from the weights

    def forward(self, ids: Tensor, *, padding: Tensor | None = None) -> Tensor:
        """Logits of texts, given by their numbers (B, 1)."""
        features: Tensor = self.table[ids[:, 0]]  # type: ignore[index]
        logits: Tensor = self.classifier.head(self.classifier.dropout(features))
        return logits


@dataclass(frozen=True)
class RowSource:
    """Texts by their numbers, for :class:`FeatureProbe`.

    Attributes:
        classes: the class of each.
        passages: what was read of them, and of the held-out texts behind them.
    """

    classes: Tensor
    passages: Passages

    @property
    def lengths(self) -> Tensor:
        """One for each."""
        return torch.ones_like(self.classes)

    def epoch(self, generator: torch.Generator) -> Examples:
        """The same in every epoch."""
        return self

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        """These texts."""
        return Batch(rows[:, None], classes=self.classes[rows], rows=rows)


def rate_factor(name: str, n_layers: int, *, layer_decay: float, head_rate: float = 1.0) -> float:
    """A parameter's share of the learning rate: ``layer_decay`` to the power of the layers between it and the head.

    >>> names = ["head.weight", "transformer.blocks.1.ffn.up_proj.weight", "transformer.embedding.token.weight"]
    >>> [rate_factor(name, 2, layer_decay=0.5, head_rate=3.0) for name in names]
    [3.0, 0.5, 0.125]
    """
    parts = name.removeprefix("classifier.").split(".")
    if parts[0] == "head":
        return head_rate
    if parts[1] == "blocks":
        return layer_decay ** (n_layers - int(parts[2]))
    return layer_decay ** (n_layers + 1 if parts[1] == "embedding" else 1)


class FineTuner(Trainer):
    """A :class:`companion.Trainer` for classes, on texts of which some are held out.

    After each evaluation the weights are kept if they are the best so far; ``run.finetune.patience`` evaluations
    without an improvement end the training. With ``run.finetune.average``, what is evaluated and kept is a moving
    average of the weights, ``average ← d average + (1 - d) weights`` after each update, with d rising to that value as
    ``(1 + step) / (10 + step)``. All of it stands in the checkpoints: a run that was stopped ends with the same bits.

    The fields in :data:`MAY_CHANGE` may be set anew when it goes on. The learning rate is a function of the step and
    the plan, so from the present step on it is that of the new plan, as if that had been the plan from the beginning.
    A linear schedule that had come down to its end goes on from where the longer one stands at that step, higher, and
    comes down again. It rises only while the step is within the new plan's warm-up, never a second time from 0.

    Args:
        model: a classifier, or a :class:`FeatureProbe` of one.
        stream: the texts to train on.
        run: how.
        config: how, with the steps counted.
        held_out: batches whose ``rows`` are the numbers of the held-out texts (a text may have several); may be empty.
        labels: the classes of the held-out texts.
        texts: digests of what is learned and of what is held out; a checkpoint with others is refused.
        objective: what is minimised; None = :class:`companion.training.objectives.Classification`.
        device: where the model is moved to.

    Attributes:
        best: ``step``, ``scores``, ``temperature``, ``ece`` before and ``calibrated_ece`` after it is applied (both on
            the texts that it was fitted to), and the trained weights, ``model``; None before the first evaluation. The
            temperature is 1 where there are fewer than :data:`FEWEST_FOR_TEMPERATURE` of these texts.
        average: the moving averages, by name; they begin with the weights that the first update finds.
        waited: evaluations since the best one.
        logits: of the held-out texts at the last evaluation, (N, C); empty before the first one. Their classes are
            ``labels``.
    """

    def __init__(
        self,
        model: nn.Module,
        stream: BatchStream,
        run: FineTuneRun,
        config: TrainConfig,
        *,
        held_out: list[Batch],
        labels: Tensor,
        texts: Mapping[str, str] | None = None,
        objective: Objective | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        f, n_layers = run.finetune, model.config.n_layers  # type: ignore[union-attr]
        by_layer = f.layer_decay != 1.0 or f.head_rate != 1.0
        super().__init__(
            model,
            stream,
            objective or Classification(),
            config,
            device=device,
            eval_batches=held_out or None,
            rate_of=(
                lambda name: rate_factor(name, n_layers, layer_decay=f.layer_decay, head_rate=f.head_rate)  # type: ignore[arg-type]
            )
            if by_layer
            else None,
        )
        self.run, self.labels, self.texts = run, labels, dict(texts or {})
        self.best: dict[str, Any] | None = None
        self.average: dict[str, Tensor] = {}
        self.waited = 0
        self.logits = torch.zeros(0)

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)

    def train_step(self) -> Record:
        """One update of the weights, and of their averages."""
        if self.run.finetune.average and self.step == 0:
            self.average = {name: p.detach().clone() for name, p in self._trained()}
        record = super().train_step()
        if self.average:
            keep = min(self.run.finetune.average, (1 + self.step) / (10 + self.step))
            for name, p in self._trained():
                self.average[name].lerp_(p.detach(), 1.0 - keep)
        return record

    @property
    def finished(self) -> bool:
        """Whether all updates are made, or the patience is at its end."""
        patience = self.run.finetune.patience
        return super().finished or (patience > 0 and self.waited >= patience)

    def evaluate(self, batches: Any) -> dict[str, float]:
        """``loss`` and ``accuracy`` on the held-out texts; the logits of a text's windows are averaged first."""
        was_training = self.model.training
        self.model.eval()
        try:
            with self._averaged():
                self.logits = mean_by_text(
                    lambda batch: self.model(batch.ids, padding=batch.padding),
                    batches,
                    len(self.labels),
                    kind=self.config.precision,
                    device=self.device,
                )
        finally:
            self.model.train(was_training)
        right = (self.logits.argmax(dim=-1) == self.labels).double().mean()
        return {"loss": negative_log_likelihood(self.logits, self.labels), "accuracy": float(right)}

    def judge(self, scores: dict[str, float]) -> None:
        """Keep the weights and the temperature that suits them, if these scores are the best so far."""
        if self.best is not None and not self._better(scores, self.best["scores"]):
            self.waited += 1
            return
        self.waited = 0
        enough = len(self.labels) >= FEWEST_FOR_TEMPERATURE
        temperature = fit_temperature(self.logits, self.labels) if enough else 1.0
        before, after = (
            expected_calibration_error((self.logits / t).softmax(dim=-1), self.labels) for t in (1.0, temperature)
        )
        with self._averaged():
            weights = {name: p.detach().cpu().clone() for name, p in self._trained()}
        self.best = {
            "step": self.step,
            "scores": dict(scores),
            "temperature": temperature,
            "ece": before,
            "calibrated_ece": after,
            "model": weights,
        }

    def _better(self, scores: dict[str, float], than: dict[str, float]) -> bool:
        names = ("accuracy", "loss") if self.run.finetune.select == "accuracy" else ("loss",)
        mine, theirs = ([s[n] if n == "accuracy" else -s[n] for n in names] for s in (scores, than))
        return mine > theirs

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Inside, the model has the averages, if there are any."""
        own = {name: p.data for name, p in self._trained()} if self.average else {}
        for name, p in self._trained():
            if name in own:
                p.data = self.average[name]
        try:
            yield
        finally:
            for name, p in self._trained():
                if name in own:
                    p.data = own[name]

    def state_dict(self) -> dict[str, Any]:
        """As that of :class:`companion.Trainer`, and what the held-out texts have decided so far."""
        return {
            **super().state_dict(),
            "run": {name: fields_of(getattr(self.run, name)) for name in SECTIONS},
            "texts": self.texts,
            "best": self.best,
            "average": self.average,
            "waited": self.waited,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave.

        Raises:
            ValueError: it comes from another fine-tuning; the message names the fields. Only those in
                :data:`MAY_CHANGE`, with the steps, the warm-up and the evaluations that follow from them, and those
                that a :class:`companion.Trainer` allows, may differ. Or it has made more updates than are asked for.
        """
        require("run" in state, "the checkpoint is of no fine-tuning; choose another folder")
        for name in SECTIONS:
            require_same(f"section [{name}]", state["run"][name], getattr(self.run, name), ignore=MAY_CHANGE)
        require(
            state.get("texts", self.texts) == self.texts,
            "the texts are not those that the checkpoint was trained on and judged by: their file has changed; bring "
            "the old texts back, or start a run in another folder",
        )
        made, f = state["step"], self.run.finetune
        asked = f"epochs={f.epochs:g} asks" if f.epochs else "train.max_steps asks"
        require(
            made <= self.config.max_steps,
            f"the run has made {made:,} steps, {asked} for {self.config.max_steps:,}; ask for as many or more, or "
            "start a run in another folder",
        )
        if f.epochs:  # then nobody has set the warm-up but by fields that may change
            state = {**state, "config": {**state["config"], "warmup_steps": self.config.warmup_steps}}
        super().load_state_dict(state)
        self.best, self.waited = state["best"], state["waited"]
        self.average = {name: value.to(self.device, copy=True) for name, value in state["average"].items()}

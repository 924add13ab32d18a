"""What is minimised: one or more summed losses, whose targets can be counted before the model has seen the batch.

Letters in the shapes: B batch, T tokens, N rows with a label, D d_model, V vocabulary, C classes.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from companion.data.stream import Batch
from companion.errors import require
from companion.nn.losses import IGNORE, LossSum, chunked_cross_entropy, next_token_labels, token_cross_entropy

CHUNK = 1024
"""Rows that pass through an output layer over the vocabulary at a time."""


class Objective(Protocol):
    """What :class:`companion.Trainer` needs to know about a task."""

    def counts(self, batch: Batch) -> dict[str, int]:
        """How many targets each term has in this batch, from the labels alone."""

    def __call__(self, model: Any, batch: Batch) -> dict[str, LossSum]:
        """Each term's loss, summed over the targets; the same names, and the same numbers of targets."""

    def evaluate(self, model: Any, batch: Batch) -> dict[str, LossSum]:
        """The same terms without gradients, and for each ``name_accuracy``: how many targets the model got right."""


@dataclass(frozen=True)
class MaskedLanguageModeling:
    r"""BERT's two tasks (Devlin et al. 2019, section 3.1): ``mlm``, and ``nsp`` if ``next_sentence``.

    The loss of a step is the sum of the two means, each over its own targets: chosen tokens and pairs of sentences.

    Attributes:
        next_sentence: whether batches carry ``next_labels`` and the model learns from them.
        chunk: rows that pass through the head over the vocabulary at a time.
    """

    next_sentence: bool = True
    chunk: int = CHUNK

    def counts(self, batch: Batch) -> dict[str, int]:
        """Chosen tokens, and pairs."""
        counts = {"mlm": _targets(_labels(batch, "labels"))}
        return {**counts, "nsp": _targets(_labels(batch, "next_labels"))} if self.next_sentence else counts

    def __call__(self, model: Any, batch: Batch) -> dict[str, LossSum]:
        """``mlm`` through the head on the chosen rows only, ``nsp`` from the first token of each row."""
        h = model.encode(batch.ids, segments=batch.segments, padding=batch.padding)  # (B, T, D)
        losses = {"mlm": chunked_cross_entropy(h, _labels(batch, "labels"), model.mlm_head, chunk=self.chunk)}
        if self.next_sentence:
            losses["nsp"] = token_cross_entropy(self._nsp_head(model)(h), _labels(batch, "next_labels"))
        return losses

    @torch.no_grad()
    def evaluate(self, model: Any, batch: Batch) -> dict[str, LossSum]:
        """``mlm``, ``mlm_accuracy``, ``nsp``, ``nsp_accuracy``."""
        h = model.encode(batch.ids, segments=batch.segments, padding=batch.padding)  # (B, T, D)
        scores = _judged("mlm", h, _labels(batch, "labels"), model.mlm_head, self.chunk)
        if self.next_sentence:
            scores |= _scores("nsp", self._nsp_head(model)(h), _labels(batch, "next_labels"))
        return scores

    @staticmethod
    def _nsp_head(model: Any) -> nn.Module:
        require(
            model.nsp_head is not None,
            "the model has no next-sentence head, but the objective has next_sentence=True; set the same in both",
        )
        head: nn.Module = model.nsp_head
        return head


@dataclass(frozen=True)
class NextToken:
    """A causal language model's task: ``lm``, the token that follows each one (Bengio et al. 2003).

    Attributes:
        chunk: rows that pass through the head over the vocabulary at a time.
    """

    chunk: int = CHUNK

    def counts(self, batch: Batch) -> dict[str, int]:
        """All tokens but the last of each row."""
        return {"lm": _targets(self._labels(batch))}

    def __call__(self, model: Any, batch: Batch) -> dict[str, LossSum]:
        """``lm`` in chunks."""
        h = model.encode(batch.ids, padding=batch.padding)  # (B, T, D)
        return {"lm": chunked_cross_entropy(h, self._labels(batch), model.lm_head, chunk=self.chunk)}

    @torch.no_grad()
    def evaluate(self, model: Any, batch: Batch) -> dict[str, LossSum]:
        """``lm`` and ``lm_accuracy``."""
        h = model.encode(batch.ids, padding=batch.padding)  # (B, T, D)
        return _judged("lm", h, self._labels(batch), model.lm_head, self.chunk)

    @staticmethod
    def _labels(batch: Batch) -> Tensor:
        if batch.labels is None:
            return next_token_labels(batch.ids, padding=batch.padding)
        return batch.labels


@dataclass(frozen=True)
class Classification:
    """One class for each row: ``classes``, from ``batch.classes`` (B,)."""

    def counts(self, batch: Batch) -> dict[str, int]:
        """Rows with a label."""
        return {"classes": _targets(_labels(batch, "classes"))}

    def __call__(self, model: Any, batch: Batch) -> dict[str, LossSum]:
        """``classes``."""
        logits = model(batch.ids, padding=batch.padding)  # (B, C)
        return {"classes": token_cross_entropy(logits, _labels(batch, "classes"))}

    @torch.no_grad()
    def evaluate(self, model: Any, batch: Batch) -> dict[str, LossSum]:
        """``classes`` and ``classes_accuracy``."""
        logits = model(batch.ids, padding=batch.padding)  # (B, C)
        return _scores("classes", logits, _labels(batch, "classes"))


def _labels(batch: Batch, name: str) -> Tensor:
    """The batch's ``labels``, ``next_labels`` or ``classes``, which the objective cannot do without."""
    labels: Tensor | None = getattr(batch, name)
    if labels is None:
        raise ValueError(f"the objective learns from batch.{name}, but the batch has none; {_WAY_OUT[name]}")
    return labels


_WAY_OUT = {
    "labels": "make it with mask_tokens",
    "next_labels": "make it from sentence_pairs, or use MaskedLanguageModeling(next_sentence=False)",
    "classes": "make it from labelled texts",
}


def _targets(labels: Tensor) -> int:
    return int((labels != IGNORE).sum())


def _scores(name: str, logits: Tensor, labels: Tensor) -> dict[str, LossSum]:
    """The loss, and how many targets have the largest logit."""
    right = (logits.argmax(dim=-1) == labels).sum()
    loss = token_cross_entropy(logits, labels)
    return {name: loss, f"{name}_accuracy": LossSum(right, loss.n_targets)}


def _judged(name: str, h: Tensor, labels: Tensor, head: nn.Module, chunk: int) -> dict[str, LossSum]:
    """:func:`_scores` of the rows that have a label, ``chunk`` of them at a time."""
    chosen = labels != IGNORE
    rows, targets = h[chosen], labels[chosen]  # (N, D), (N)
    total: dict[str, LossSum] = {}
    for start in range(0, max(1, len(rows)), chunk):
        part = _scores(name, head(rows[start : start + chunk]), targets[start : start + chunk])
        total = add(total, part)
    return total


def add(a: dict[str, LossSum], b: dict[str, LossSum]) -> dict[str, LossSum]:
    """Term by term, sums with sums and counts with counts.

    >>> one = {"mlm": LossSum(torch.tensor(3.0), torch.tensor(2))}
    >>> add(one, one)["mlm"].total.item(), add({}, one)["mlm"].n_targets.item()
    (6.0, 2)
    """
    zero = LossSum(torch.tensor(0), torch.tensor(0))
    return {name: LossSum(*(x + y for x, y in zip(a.get(name, zero), b[name], strict=True))) for name in b}

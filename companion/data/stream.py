r"""Batches without end: seeded, cut by length so that hardly any padding is left, shared between processes.

A :class:`BatchStream` draws the examples of an epoch, sorts them by length, cuts them into batches and shuffles these.
All of it, the masks too, is drawn from (seed, epoch, number of the batch). So the state of a stream is three numbers, a
stream that is set to a state goes on exactly as the first one did, and every process of a group knows the whole order
and takes its share of each batch.

:mod:`companion.data.sources` makes the streams of the three objectives.
Letters in the shapes: B batch, T tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from companion.data.transforms import IGNORE
from companion.errors import require

# Lengths are told apart only this roughly when they are sorted, so that other examples meet in each epoch.
_BLUR = 0.01


@dataclass(frozen=True)
class Batch:
    """What a model and its objective read; None = this batch has none of it.

    Attributes:
        ids: (B, T) int64, the model's input.
        labels: (B, T) int64, the token to be predicted at each position, -100 where there is none.
        segments: (B, T) int64, 0 and 1.
        padding: (B, T) bool, True = real token; None if all are.
        next_labels: (B,) int64, 0 = the second passage follows the first, 1 = it does not.
        classes: (B,) int64, the class of each text.
        rows: (B,) int64, the number of each example in its epoch; for classification, in the data set.
    """

    ids: Tensor
    labels: Tensor | None = None
    segments: Tensor | None = None
    padding: Tensor | None = None
    next_labels: Tensor | None = None
    classes: Tensor | None = None
    rows: Tensor | None = None

    @property
    def n_tokens(self) -> int:
        """Real tokens."""
        return self.ids.numel() if self.padding is None else int(self.padding.sum())

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return self._map(lambda x: x.to(device, non_blocking=True))

    def share(self, rank: int, world_size: int) -> Batch:
        """The part of process ``rank``: every ``world_size``-th row, cut to the longest of them.

        If there are fewer rows than processes, whoever gets none takes the first one without any label, so that it has
        something to compute and adds nothing.
        """
        if world_size == 1:
            return self
        idle = rank >= len(self.ids)
        part = self._map(lambda x: x[:1] if idle else x[rank::world_size])
        if idle:
            blank = {k: torch.full_like(getattr(part, k), IGNORE) for k in _LABELS if getattr(part, k) is not None}
            part = replace(part, **blank)
        if part.padding is None:
            return part
        longest = int(part.padding.sum(dim=1).max())
        part = part._map(lambda x: x[:, :longest] if x.dim() == 2 else x)
        return replace(part, padding=None) if bool(part.padding.all()) else part  # type: ignore[union-attr]

    def _map(self, f: Any) -> Batch:
        return replace(self, **{k: f(x) for k in _NAMES if (x := getattr(self, k)) is not None})


_NAMES = tuple(f.name for f in fields(Batch))
_LABELS = ("labels", "next_labels", "classes")


class Examples(Protocol):
    """The examples of one epoch."""

    @property
    def lengths(self) -> Tensor:
        """How many tokens each has."""

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        """These examples, padded to the longest; what is random about them comes from the generator."""


class Source(Protocol):
    """Where a stream takes its examples from."""

    def epoch(self, generator: torch.Generator) -> Examples:
        """The examples of an epoch; drawn anew where the objective allows."""


def derived_generator(*parts: int | str) -> torch.Generator:
    """A generator seeded by a digest of its arguments: streams with neighboring seeds have nothing in common.

    >>> a, b = (torch.rand(3, generator=derived_generator(0, 1, "masks")) for _ in range(2))
    >>> torch.equal(a, b)
    True
    """
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)


class _Plan:
    """The examples of an epoch, their order, and where the batches end."""

    def __init__(self, examples: Examples, order: Tensor, ends: list[int]) -> None:
        self.examples, self.order, self.ends = examples, order, ends

    def __len__(self) -> int:
        return len(self.ends)

    def rows(self, index: int) -> Tensor:
        return self.order[0 if index == 0 else self.ends[index - 1] : self.ends[index]]

    @property
    def real_share(self) -> float:
        """Real tokens as a share of all."""
        lengths = self.examples.lengths
        filled = sum(int(lengths[rows].max()) * len(rows) for rows in map(self.rows, range(len(self))))
        return int(lengths.sum()) / filled


class BatchStream:
    """Batches without end.

    Args:
        source: where the examples come from.
        tokens_per_batch: as many rows as stay within that many tokens, padding included: steps of like cost.
        batch_size: or else that many rows.
        seed: of everything.
        rank: the number of this process, from 0.
        world_size: how many processes share each batch.

    Raises:
        ValueError: neither or both of the sizes, or a size without room for the longest example.
    """

    def __init__(
        self,
        source: Source,
        *,
        tokens_per_batch: int | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        require(
            (tokens_per_batch is None) != (batch_size is None),
            f"give one of tokens_per_batch and batch_size; got {tokens_per_batch} and {batch_size}",
        )
        require(0 <= rank < world_size, f"rank={rank} must be in [0, world_size={world_size})")
        size = batch_size if tokens_per_batch is None else tokens_per_batch
        require(isinstance(size, int) and size >= 1, f"a batch of {size} is empty; ask for at least 1")
        self.source, self.seed, self.rank, self.world_size = source, seed, rank, world_size
        self.tokens_per_batch, self.batch_size = tokens_per_batch, batch_size
        self.epoch, self.index = 0, 0
        self._plans: dict[int, _Plan] = {}

    def __iter__(self) -> BatchStream:
        return self

    def __next__(self) -> Batch:
        if self.index == len(self._plan(self.epoch)):
            self.epoch, self.index = self.epoch + 1, 0
        batch = self._batch(self.epoch, self.index)
        self.index += 1
        return batch

    @property
    def batches_per_epoch(self) -> int:
        """Batches in the present epoch."""
        return len(self._plan(self.epoch))

    @property
    def lengths(self) -> Tensor:
        """How many tokens each example of the present epoch has."""
        return self._plan(self.epoch).examples.lengths

    @property
    def real_share(self) -> float:
        """Real tokens as a share of all tokens in the batches of the present epoch."""
        return self._plan(self.epoch).real_share

    def once(self, *, epoch: int = 0) -> OnePass:
        """The batches of one epoch, the same ones every time it is iterated over; the stream itself does not move."""
        return OnePass(self, epoch)

    def state_dict(self) -> dict[str, int]:
        """Where the stream is: seed, epoch, batches taken of it; and to check, how many there are and of what."""
        plan = self._plan(self.epoch)
        size = {"batches": len(plan), "examples": len(plan.order)}
        return {"seed": self.seed, "epoch": self.epoch, "index": self.index, **size}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to that place.

        Raises:
            ValueError: it is a place in another stream.
        """
        require(state["seed"] == self.seed, f"the state is of a stream with seed={state['seed']}, this has {self.seed}")
        plan = self._plan(state["epoch"])
        batches = state.get("batches", len(plan))  # the first states had no such count
        require(
            (batches, state["examples"]) == (len(plan), len(plan.order)) and 0 <= state["index"] <= len(plan),
            f"the state is at batch {state['index']} of {batches} with {state['examples']} examples, but this stream "
            f"has {len(plan)} with {len(plan.order)}; use the same data and the same size of batches",
        )
        self.epoch, self.index = state["epoch"], state["index"]

    def _batch(self, epoch: int, index: int) -> Batch:
        plan = self._plan(epoch)
        # Drawn for the whole batch by every process, so that the masks do not depend on how many share it.
        generator = derived_generator(self.seed, epoch, index, "batch")
        return plan.examples.batch(plan.rows(index), generator).share(self.rank, self.world_size)

    def _plan(self, epoch: int) -> _Plan:
        if epoch not in self._plans:
            examples = self.source.epoch(derived_generator(self.seed, epoch, "examples"))
            self._plans = {epoch: self._cut(examples, derived_generator(self.seed, epoch, "order"))}
        return self._plans[epoch]

    def _cut(self, examples: Examples, generator: torch.Generator) -> _Plan:
        """Sort by length, roughly, cut into batches, shuffle the batches."""
        n = len(examples.lengths)
        longest = int(examples.lengths.max())
        require(
            self.tokens_per_batch is None or longest <= self.tokens_per_batch,
            f"tokens_per_batch={self.tokens_per_batch}, but the longest example has {longest} tokens",
        )
        blurred = examples.lengths * (1 + _BLUR * torch.rand(n, generator=generator))
        order = blurred.argsort(descending=True, stable=True)
        lengths = examples.lengths[order].tolist()
        parts, i = [], 0
        while i < n:
            size = self.batch_size
            if self.tokens_per_batch is not None:
                size = self.tokens_per_batch // max(lengths[i : i + self.tokens_per_batch // lengths[i]])
            parts.append(order[i : i + size])  # type: ignore[operator]  # one of the two is set
            i += len(parts[-1])
        shuffled = [parts[k] for k in torch.randperm(len(parts), generator=generator).tolist()]
        ends = torch.tensor([len(p) for p in shuffled]).cumsum(0).tolist()
        return _Plan(examples, torch.cat(shuffled), ends)


class OnePass:
    """One epoch of a stream, to be iterated over as often as wanted: for evaluation."""

    def __init__(self, stream: BatchStream, epoch: int) -> None:
        # A stream of its own, so that the other one keeps the plan of its epoch.
        self._stream = BatchStream(
            stream.source,
            tokens_per_batch=stream.tokens_per_batch,
            batch_size=stream.batch_size,
            seed=stream.seed,
            rank=stream.rank,
            world_size=stream.world_size,
        )
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._stream._plan(self._epoch))

    def __iter__(self) -> Iterator[Batch]:
        return (self._stream._batch(self._epoch, i) for i in range(len(self)))

"""Streams: every example once an epoch, hardly any padding, the same batches for every process and after a resume."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.data.stream import _NAMES, Batch, BatchStream, derived_generator

IGNORE = -100


@dataclass(frozen=True)
class Numbers:
    """Example i of an epoch: its number, as often as its length says; the labels are drawn when the batch is made."""

    lengths: torch.Tensor

    def epoch(self, generator):
        return self

    def batch(self, rows, generator):
        lengths = self.lengths[rows]
        padding = torch.arange(int(lengths.max())) < lengths[:, None]
        ids = torch.where(padding, rows[:, None] + 1, 0)
        labels = torch.where(padding, torch.randint(9, ids.shape, generator=generator), IGNORE)
        return Batch(
            ids, labels, padding=None if padding.all() else padding, next_labels=rows % 2, classes=rows % 3, rows=rows
        )


def lengths(n, longest=200, seed=0):
    return torch.randint(1, longest + 1, (n,), generator=torch.Generator().manual_seed(seed))


def stream(n=300, **options):
    return BatchStream(Numbers(lengths(n)), **{"tokens_per_batch": 1000, **options})


def take(stream, n):
    return [next(stream) for _ in range(n)]


def same(a, b):
    return all(
        (x is None) == (y is None) and (x is None or torch.equal(x, y))
        for x, y in ((getattr(a, name), getattr(b, name)) for name in _NAMES)
    )


@pytest.mark.parametrize("options", [{}, {"tokens_per_batch": None, "batch_size": 7}])
def test_every_example_once_an_epoch(options):
    batches = stream(**options)
    for epoch in range(3):
        n = batches.batches_per_epoch if epoch == 0 else len(batches.once(epoch=epoch))
        rows = torch.cat([b.rows for b in take(batches, n)])
        assert batches.epoch == epoch
        assert sorted(rows.tolist()) == list(range(300))


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=50),
    budget=st.integers(40, 200),
    world_size=st.integers(1, 4),
    seed=st.integers(0, 9),
)
@settings(max_examples=60)
def test_any_lengths_any_budget_any_number_of_processes(sizes, budget, world_size, seed):
    source = Numbers(torch.tensor(sizes))
    ranks = [
        BatchStream(source, tokens_per_batch=budget, seed=seed, rank=r, world_size=world_size).once()
        for r in range(world_size)
    ]
    whole = BatchStream(source, tokens_per_batch=budget, seed=seed).once()
    seen = []
    for batch, *parts in zip(whole, *ranks, strict=True):
        assert batch.ids.numel() <= budget
        rows = [part.rows[part.classes != IGNORE] for part in parts]
        assert sorted(torch.cat(rows).tolist()) == sorted(batch.rows.tolist())
        assert sum((part.labels != IGNORE).sum() for part in parts) == (batch.labels != IGNORE).sum()
        seen += batch.rows.tolist()
    assert sorted(seen) == list(range(len(sizes)))


def test_a_process_has_its_rows_of_the_batch_and_nothing_else():
    whole = stream()
    shares = [stream(rank=rank, world_size=3) for rank in range(3)]
    for _ in range(20):
        batch, parts = next(whole), [next(share) for share in shares]
        for rank, part in enumerate(parts):
            t = part.ids.size(1)
            assert torch.equal(part.ids, batch.ids[rank::3, :t])
            assert torch.equal(part.labels, batch.labels[rank::3, :t]), "the masks depend on the number of processes"
            assert torch.equal(part.next_labels, batch.next_labels[rank::3])
            assert part.n_tokens == int((batch.ids[rank::3] > 0).sum()), "a real token was cut off"
            assert part.padding is None or not part.padding.all()


def test_a_process_without_a_row_adds_nothing():
    source = Numbers(torch.tensor([5, 3]))
    for rank, blank in ((1, False), (2, True)):
        batch = next(BatchStream(source, batch_size=2, rank=rank, world_size=3))
        assert len(batch.ids) == 1
        for name in ("labels", "next_labels", "classes"):
            assert bool((getattr(batch, name) == IGNORE).all()) == blank


@pytest.mark.parametrize("at", [0, 1, 17, "last", "end", "next"])
def test_a_stream_goes_on_where_another_one_stopped(at):
    first = stream(seed=5)
    n = first.batches_per_epoch
    take(first, {"last": n - 1, "end": n, "next": n + 1}.get(at, at))
    state = first.state_dict()
    second = stream(seed=5)
    second.load_state_dict(state)
    assert all(same(a, b) for a, b in zip(take(first, 40), take(second, 40), strict=True))
    assert first.state_dict() == second.state_dict() != state
    assert all(isinstance(value, int) for value in state.values())


def test_what_a_seed_and_an_epoch_change():
    a, b, c = stream(), stream(), stream(seed=1)
    n = a.batches_per_epoch
    first = take(a, n)
    assert all(same(x, y) for x, y in zip(first, take(b, n), strict=True))
    assert [x.rows.tolist() for x in first] != [x.rows.tolist() for x in take(c, n)]
    second = take(a, n)
    for batches in (first, second):  # by example, so that the order of the batches is no matter
        batches[:] = [row for x in batches for row in zip(x.rows.tolist(), x.labels.tolist(), strict=True)]
    other = {row: [x for x in labels if x != IGNORE] for row, labels in second}
    drawn_again = [other[row] == [x for x in labels if x != IGNORE] for row, labels in first if len(labels) > 20]
    assert not any(drawn_again)


def test_one_pass_is_the_same_each_time_and_moves_nothing():
    batches = stream(seed=2)
    take(batches, 3)
    state = batches.state_dict()
    once = batches.once()
    passes = [list(once), list(once)]
    assert all(same(a, b) for a, b in zip(*passes, strict=True)) and len(once) == len(passes[0])
    assert batches.state_dict() == state
    fresh = stream(seed=2)
    assert all(same(a, b) for a, b in zip(passes[0], take(fresh, len(once)), strict=True))


def test_batches_by_length_hold_hardly_any_padding():
    batches = BatchStream(Numbers(lengths(5000)), tokens_per_batch=4096)
    one_epoch = list(batches.once())
    share = sum(b.n_tokens for b in one_epoch) / sum(b.ids.numel() for b in one_epoch)
    assert batches.real_share == pytest.approx(share) and share > 0.985
    full = [b.ids.numel() for b in one_epoch]
    assert sorted(full)[1] > 0.9 * 4096, "all but the last one that was cut are about full"
    by_length = [b.ids.size(1) for b in one_epoch]
    assert by_length != sorted(by_length) and by_length != sorted(by_length, reverse=True)


def test_states_of_another_stream():
    state = stream().state_dict()
    for other, message in (
        (stream(seed=1), "a stream with seed=0, this has 1"),
        (stream(n=299), r"300 examples, but this stream has \d+ with 299"),
        (stream(tokens_per_batch=500), "use the same data and the same size of batches"),
    ):
        with pytest.raises(ValueError, match=message):
            other.load_state_dict(state)
    with pytest.raises(ValueError, match="at batch 900"):
        stream().load_state_dict({**state, "index": 900})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens_per_batch": None}, "give one of tokens_per_batch and batch_size; got None and None"),
        ({"batch_size": 3}, "give one of tokens_per_batch and batch_size; got 1000 and 3"),
        ({"tokens_per_batch": None, "batch_size": 0}, "a batch of 0 is empty"),
        ({"rank": 2, "world_size": 2}, r"rank=2 must be in \[0, world_size=2\)"),
        ({"rank": -1}, r"rank=-1 must be in \[0"),
    ],
)
def test_arguments_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        stream(**options)


def test_a_budget_without_room_for_the_longest():
    with pytest.raises(ValueError, match=r"tokens_per_batch=100, but the longest example has \d+ tokens"):
        next(stream(tokens_per_batch=100))


def test_neighboring_seeds_have_nothing_in_common():
    draws = [torch.rand(4, generator=derived_generator(a, b, "x")) for a in range(4) for b in range(4)]
    assert len({tuple(d.tolist()) for d in draws}) == 16


def test_a_batch_moves_as_a_whole():
    moved = next(stream()).to("meta")
    assert {getattr(moved, k).device.type for k in _NAMES if getattr(moved, k) is not None} == {"meta"}

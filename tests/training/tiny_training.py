"""Trainings that take milliseconds, and child processes for those that end badly.

Children are forked from a server that has imported torch once, where the system can do that.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from companion import BERT, IGNORE, TrainConfig, Trainer, TransformerConfig, load_checkpoint
from companion.data.stream import Batch
from companion.training import checkpoint, distributed
from companion.training.checkpoint import latest_checkpoint
from companion.training.objectives import MaskedLanguageModeling

V, T = 23, 7
ROWS = (3, 2, 4)  # the micro-batches of a step differ in size
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # os.kill with any signal ends a process at once on Windows

_CAN_FORK = "forkserver" in multiprocessing.get_all_start_methods()
CONTEXT = multiprocessing.get_context("forkserver" if _CAN_FORK else "spawn")
if _CAN_FORK:
    # torch._dynamo is what the first optimizer of a process imports; it takes longer than torch itself.
    CONTEXT.set_forkserver_preload(["companion", "torch._dynamo", "safetensors.torch", "tqdm", "pytest"])


def mlm_batch(index: int, rows: int = 3, *, chosen: float = 0.3, padded: bool = True) -> Batch:
    """A batch that follows from its number: uneven rows, uneven shares of chosen tokens."""
    generator = torch.Generator().manual_seed(index)
    ids = torch.randint(5, V, (rows, T), generator=generator)
    share = chosen * (1 + index % 3)
    labels = torch.where(torch.rand(rows, T, generator=generator) < share, ids, IGNORE)
    lengths = torch.randint(2, T + 1, (rows,), generator=generator)
    lengths[0] = T
    padding = torch.arange(T) < lengths[:, None]
    labels[:, 0] = ids[:, 0]  # never none at all
    labels = labels.masked_fill(~padding, IGNORE)
    segments = (torch.arange(T) > 3).long().expand(rows, T)
    pairs = torch.randint(0, 2, (rows,), generator=generator)
    return Batch(ids, labels, segments=segments, padding=padding if padded else None, next_labels=pairs)


class TinyStream:
    """Batches 0, 1, 2, ...; its state is how many were taken."""

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.index, self.rank, self.world_size = 0, rank, world_size

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        self.index += 1
        return mlm_batch(self.index, ROWS[self.index % 3]).share(self.rank, self.world_size)

    def state_dict(self) -> dict[str, int]:
        return {"index": self.index}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.index = state["index"]


def tiny_model(*, dropout: float = 0.2, **changes: Any) -> BERT:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        values = {"d_model": 8, "n_heads": 2, "d_ff": 16, "n_layers": 1, "n_segments": 2, "dropout": dropout, **changes}
        return BERT(TransformerConfig(vocab_size=V, max_len=T, **values))


def tiny_trainer(
    *,
    model: BERT | None = None,
    stream: Iterator[Batch] | None = None,
    objective: Any = None,
    eval_batches: Any = None,
    **config: Any,
) -> Trainer:
    values = {"max_steps": 12, "grad_accum_steps": 2, "peak_lr": 0.01, "warmup_steps": 3, "checkpoint_every": 3}
    return Trainer(
        model or tiny_model(),
        stream or TinyStream(),
        objective or MaskedLanguageModeling(chunk=4),
        TrainConfig(**{**values, **config}),
        eval_batches=eval_batches,
    )


def resume(trainer: Trainer, run_dir: Path) -> Trainer:
    """Take a run up again, if there is something to take up."""
    if latest_checkpoint(run_dir) is not None:
        trainer.load_state_dict(load_checkpoint(run_dir))
    return trainer


def without_seconds(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Where two trainers' states are not equal bit for bit, seconds aside."""
    found: list[str] = []

    def compare(x: Any, y: Any, where: str) -> None:
        if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor):
            if x.dtype != y.dtype or not torch.equal(x, y):
                found.append(where)
        elif isinstance(x, dict) and isinstance(y, dict) and x.keys() == y.keys():
            for name in x:
                compare(x[name], y[name], f"{where}.{name}")
        elif isinstance(x, list | tuple) and isinstance(y, list | tuple) and len(x) == len(y):
            for i, pair in enumerate(zip(x, y, strict=True)):
                compare(*pair, f"{where}[{i}]")
        elif x != y:
            found.append(f"{where}: {x!r} != {y!r}")

    compare({**a, "history": without_seconds(a["history"])}, {**b, "history": without_seconds(b["history"])}, "state")
    return found


def in_child(target: Any, *arguments: Any) -> int:
    """Run a function of this module in a child; its exit code, negative if a signal ended it."""
    child = CONTEXT.Process(target=target, args=arguments)
    child.start()
    child.join(300)
    assert child.exitcode is not None, f"{target.__name__} hangs"
    return child.exitcode


def die() -> None:
    os.kill(os.getpid(), KILL)


class Moment:
    """Calls ``act`` just before the given file-system call, counted from when it is armed.

    Python reports such calls to audit hooks, which cannot be taken away again: one serves all moments.
    """

    TOUCHES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
    _armed: ClassVar[Moment | None] = None
    _installed = False

    def __init__(self, number: int, act: Callable[[], None], *, calls: Sequence[str] = TOUCHES) -> None:
        self.left, self.act, self.calls = number, act, calls

    def __enter__(self) -> Moment:
        if not Moment._installed:
            sys.addaudithook(Moment._hook)
            Moment._installed = True
        Moment._armed = self
        return self

    def __exit__(self, *_: object) -> None:
        Moment._armed = None

    @staticmethod
    def _hook(call: str, _: Any) -> None:
        moment = Moment._armed
        if moment is not None and call in moment.calls:
            moment.left -= 1
            if moment.left == 0:
                Moment._armed = None
                moment.act()


def killed_while_saving(run_dir: Path, step: int, call: str) -> None:
    """Train; die just before the first such file-system call of the save at ``step``."""
    trainer = tiny_trainer()
    save = trainer.save

    def watched(folder: Any) -> None:
        if trainer.step == step:
            with Moment(1, die, calls=[call]):
                save(folder)
        else:
            save(folder)

    trainer.save = watched  # type: ignore[method-assign]
    trainer.fit(checkpoint_dir=run_dir)


def killed_while_writing(run_dir: Path, victim: str) -> None:
    """Train; die when half of one file of the second checkpoint is on the disk."""
    write = checkpoint._write

    def half(path: Path, data: bytes) -> None:
        if path.name == victim and "00000006" in str(path):
            write(path, data[: len(data) // 2])
            die()
        write(path, data)

    checkpoint._write = half
    tiny_trainer().fit(checkpoint_dir=run_dir)


def killed_in_a_step(run_dir: Path, step: int) -> None:
    """Train; die between the gradients and the update."""
    trainer = tiny_trainer()
    update = trainer.optimizer.step

    def doomed(*arguments: Any) -> None:
        if trainer.step == step:
            die()
        update(*arguments)

    trainer.optimizer.step = doomed  # type: ignore[method-assign]
    trainer.fit(checkpoint_dir=run_dir)


def slow_run(run_dir: Path) -> None:
    """Train, or go on, slowly enough to be killed by somebody else."""
    resume(tiny_trainer(checkpoint_every=2), run_dir).fit(checkpoint_dir=run_dir, on_step=lambda _: time.sleep(0.01))


def run_with_small_files(run_dir: Path, limit: int) -> None:
    """Train where no file may have more than ``limit`` bytes, as on a disk that is full; exit code 7 if it is told."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        resume(tiny_trainer(), run_dir).fit(checkpoint_dir=run_dir)
    except OSError as error:
        told = "step 6 could not be written" in str(error) and "step-00000003, is untouched" in str(error)
        sys.exit(7 if told else 8)


def one_of_two(rank: int, port: int, folder: Path) -> None:
    """What one of two processes does; what it saw goes to ``folder``."""
    local = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in local.items()}, MASTER_ADDR="127.0.0.1")
    os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)
    with distributed.join() as device:
        assert device == torch.device("cpu")
        seen = {
            "who": (distributed.rank(), distributed.world_size()),
            **_share_of_a_step(rank),
            **_resumed(rank, folder),
            **_stopped(rank),
            **_refused(rank, folder),
        }
    assert distributed.world_size() == 1
    torch.save(seen, folder / f"seen-{rank}.pt")


def _share_of_a_step(rank: int) -> dict[str, Any]:
    """The summed gradient and record of one step, its evaluation, and a step that leaves a head unused."""
    held_out = [batch.share(rank, 2) for batch in (mlm_batch(100, 4), mlm_batch(101, 5))]
    trainer = tiny_trainer(model=tiny_model(dropout=0.0), stream=TinyStream(rank, 2), grad_clip=0.0)
    record = trainer.train_step()
    gradients = {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}
    alone = MaskedLanguageModeling(next_sentence=False, chunk=4)
    partly = tiny_trainer(model=tiny_model(dropout=0.0), stream=TinyStream(rank, 2), objective=alone)
    partly.fit(until=2)
    unused = [name for name, p in partly.model.named_parameters() if p.grad is None]
    return {"record": record, "gradients": gradients, "valid": trainer.evaluate(held_out), "unused": unused}


def _resumed(rank: int, folder: Path) -> dict[str, Any]:
    """Straight through, and with a pause; each process names a folder of its own, but only one may write."""
    run_dir = folder / f"run-of-{rank}"
    straight, first, second = (tiny_trainer(stream=TinyStream(rank, 2)) for _ in range(3))
    straight.fit()
    first.fit(until=5, checkpoint_dir=run_dir)
    second.load_state_dict(load_checkpoint(folder / "run-of-0"))
    second.fit()
    return {"state": straight.state_dict(), "differences": differences(second.state_dict(), straight.state_dict())}


def _stopped(rank: int) -> dict[str, Any]:
    """Ctrl-C reaches one of them only."""
    trainer = tiny_trainer(stream=TinyStream(rank, 2))
    trainer.fit(on_step=lambda r: rank == 1 and r["step"] == 2 and signal.raise_signal(signal.SIGINT))
    return {"stopped": (trainer.step, trainer.interrupted)}


def _refused(rank: int, folder: Path) -> dict[str, Any]:
    """The folder cannot be made where the first process, which writes, wants it."""
    (folder / f"file-{rank}").write_text("in the way", encoding="utf-8")
    trainer = tiny_trainer(stream=TinyStream(rank, 2))
    try:
        trainer.fit(until=1, checkpoint_dir=folder / f"file-{rank}" / "run")
    except OSError as error:
        return {"refused": str(error)}
    return {"refused": None}

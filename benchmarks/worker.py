"""A contender in a process of its own, told when its turn is.

So each one has its own allocator and threads, as it would have for a reader: whether freed memory is kept
(:func:`companion.runtime.keep_memory`) is a setting of the whole process, and what one frees helps no other.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.contenders import KEPT, Shape
from benchmarks.harness import Contender


@dataclass(frozen=True)
class Job:
    """Which contender does what: a task of :data:`benchmarks.tasks.TASKS` and one of its names."""

    task: str
    name: str
    shape: Shape
    precision: str
    threads: int


class Worker:
    """The other process, seen from here."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", json.dumps(asdict(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[1],
        )

    def ask(self, request: str) -> float:
        """What it answers: to ``"step"`` nothing of interest, to ``"peak"`` its peak memory over its imports, in MB."""
        assert self._process.stdin
        print(request, file=self._process.stdin, flush=True)
        return self.answer()

    def answer(self) -> float:
        """Its next line; the first says that it is ready."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.job.name} ended with status {self._process.wait()} in {self.job}")
        return float(line)

    def end(self) -> None:
        """Let it end, and wait until its memory is free."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextmanager
def workers(jobs: list[Job]) -> Iterator[list[Worker]]:
    """All of them, started together and ready; they end with the block."""
    with ExitStack() as stack:
        started = []
        for job in jobs:
            started.append(Worker(job))
            stack.callback(started[-1].end)
        for worker in started:
            worker.answer()
        yield started


@contextmanager
def contenders(jobs: list[Job]) -> Iterator[list[Contender]]:
    """The same, ready for :func:`benchmarks.harness.interleave`."""
    with workers(jobs) as started:
        yield [Contender(w.job.name, lambda w=w: w.ask("step")) for w in started]


def _peak_mb() -> float:
    if sys.platform == "win32":
        return float("nan")
    if (status := Path("/proc/self/status")).is_file():  # Linux's ru_maxrss begins with the peak of who started us
        peak = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 2**10
    import resource  # not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 2**10


def main(text: str) -> None:
    """Be a contender: one line is answered for each line that comes in."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    import torch
    import transformers  # noqa: F401  # the same imports for everybody

    from benchmarks.tasks import TASKS
    from companion.runtime import keep_memory

    values = json.loads(text)
    job = Job(**{**values, "shape": Shape(**values["shape"])})
    torch.set_num_threads(job.threads)
    if job.name.endswith(KEPT) and not keep_memory():
        raise RuntimeError("memory cannot be kept here: no glibc, or COMPANION_FAST=0")
    before = _peak_mb()
    step = TASKS[job.task].step(job.name.removesuffix(KEPT), job.shape, job.precision)
    print(0.0, file=answers, flush=True)
    for line in sys.stdin:
        if line.strip() == "step":
            step()
        print(_peak_mb() - before, file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

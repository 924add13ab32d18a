"""What a run leaves to be read: its log, step by step, and its record, for the book."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from companion.data.stream import BatchStream
from companion.errors import require
from companion.files import write_text_whole
from companion.runtime import best_device
from companion.training import distributed
from companion.training.loop import Record, Trainer
from companion.training.pretrain import ABOUT
from companion.training.runfile import MachineConfig, RunConfig

POINTS = 300
"""How many points of the loss curve a record keeps."""


class Log:
    """A run's ``log.jsonl``, one line a step; on a file, a line is printed now and then.

    A resumed run begins by writing what its checkpoint knows, so steps that were lost are not in the file twice.
    """

    def __init__(self, path: Path, trainer: Trainer, *, every: int, say: Callable[[str], None] | None) -> None:
        self.path, self.trainer, self.every, self.say = path, trainer, every, say
        self._file: Any = None
        self._recent: list[Record] = []

    def __enter__(self) -> Log:
        if distributed.rank() == 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8", newline="\n", buffering=1)
            self._file.writelines(json.dumps(record) + "\n" for record in self.trainer.history)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def __call__(self, record: Record) -> None:
        """Note a step."""
        if self._file is None:
            return
        self._file.write(json.dumps(record) + "\n")
        self._recent.append(record)
        step = int(record["step"])
        if self.say is not None and (step % self.every == 0 or "valid_loss" in record or step == 1):
            self.say(self._line(record))
            self._recent = []

    def _line(self, record: Record) -> str:
        seconds = sum(r["seconds"] for r in self._recent)
        speed = sum(r["tokens"] for r in self._recent) / max(seconds, 1e-9)
        loss = sum(r["loss"] for r in self._recent) / len(self._recent)
        left = (self.trainer.config.max_steps - record["step"]) * seconds / len(self._recent)
        held_out = "".join(f", {name} {record[name]:.3f}" for name in record if name.startswith("valid_"))
        return (
            f"step {int(record['step']):,} of {self.trainer.config.max_steps:,}: loss {loss:.3f}{held_out}, "
            f"rate {record['lr']:.1e}, {speed:,.0f} tokens/s, {left / 60:.0f} min left"
        )


def summary(trainer: Trainer, run: RunConfig, *, command: str) -> dict[str, Any]:
    """The record of a run, ready for ``book/results``: what was done, on what kind of machine, and the curves.

    Seconds and tokens are summed over all steps, so over all sessions of a run that was interrupted; evaluations and
    checkpoints are not in them. The training losses of the curve are means over equal stretches; those of the held-out
    part stand as they were measured.
    """
    history, stream = trainer.history, trainer.stream
    tokens, seconds = sum(r["tokens"] for r in history), sum(r["seconds"] for r in history)
    held_out = [
        {
            "step": int(r["step"]),
            **{k.removeprefix("valid_"): round(v, 4) for k, v in r.items() if k.startswith("valid_")},
        }
        for r in history
        if "valid_loss" in r
    ]
    terms = [k for k in history[-1] if k not in NO_LOSS and not k.startswith("valid_")]
    last = history[-max(1, len(history) // 50) :]
    return {
        "command": command,
        "config": json.loads(json.dumps(run.to_dict())),  # as it will read back: lists, not tuples
        "machine": machine_class(run.machine),
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(seconds, 1),
        "steps": len(history),
        "tokens": int(tokens),
        "tokens_per_second": round(tokens / seconds, 1),
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "corpus": corpus_facts(run),
        "real_share": round(stream.real_share, 5) if isinstance(stream, BatchStream) else None,
        "train": curve(history, terms),
        "held_out": held_out,
        "final": {
            "train": {k: round(sum(r[k] for r in last) / len(last), 4) for k in terms},
            "train_steps_averaged": len(last),
            "held_out": held_out[-1] if held_out else None,
        },
    }


#: What a step's record has besides losses.
NO_LOSS = ("step", "lr", "grad_norm", "tokens", "seconds")


def curve(history: list[Record], terms: list[str]) -> list[dict[str, float]]:
    """The training losses of a run, as means over at most :data:`POINTS` equal stretches."""
    width = max(1, -(-len(history) // POINTS))
    points = []
    for start in range(0, len(history), width):
        part = history[start : start + width]
        means = {k: round(sum(r[k] for r in part) / len(part), 4) for k in (*terms, "grad_norm")}
        points.append({"step": int(part[-1]["step"]), **means, "lr": part[-1]["lr"]})
    return points


def machine_class(machine: MachineConfig) -> dict[str, Any]:
    """What kind of machine this is: enough to judge a speed by, and nothing that names it."""
    device = best_device() if machine.device == "auto" else torch.device(machine.device)
    return {
        "cores": os.cpu_count(),
        "threads": machine.threads or torch.get_num_threads(),
        "processor": platform.machine(),
        "kind": _processor(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "matmul": torch.get_float32_matmul_precision(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record, its folder too, whole or not at all."""
    write_text_whole(path, json.dumps(record, indent=1) + "\n")


def read_record(path: Path, *, command: str = "pretrain") -> dict[str, Any]:
    """Read what :func:`write_record` wrote; the command is the one that makes a record of this kind.

    Raises:
        ValueError: there is no such file, or it is no JSON.
    """
    require(path.is_file(), f"there is no record {path}; `companion {command} --record` writes one")
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no record: {error}") from error
    return record


def corpus_facts(run: RunConfig) -> dict[str, Any]:
    """Where the run's corpus comes from, and the counts of its two parts."""
    folder = Path(run.data.corpus)
    about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    return {"source": about["source"], **about["parts"]}

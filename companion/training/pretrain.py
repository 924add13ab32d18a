"""Pretraining: a run file, a corpus and a folder become a trained model, and a record of how it came about."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from companion.data.corpus import TokenCorpus
from companion.data.sources import causal_stream, mlm_stream
from companion.data.stream import Batch, BatchStream
from companion.data.tokenizer import load_tokenizer
from companion.errors import require
from companion.models.bert import BERT
from companion.models.gpt import GPT
from companion.runtime import best_device, faster_float32
from companion.training import distributed
from companion.training.loop import Record, Trainer
from companion.training.objectives import MaskedLanguageModeling, NextToken, Objective
from companion.training.runfile import MachineConfig, RunConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TRAIN, HELD_OUT, TOKENIZER = "train", "held-out", "tokenizer.json"
"""What ``companion data`` writes into a corpus folder: two corpora and the tokenizer."""
POINTS = 300
"""How many points of the loss curve a record keeps."""


def use_machine(machine: MachineConfig) -> torch.device:
    """Set threads and matrix products as the run wants them, and give its device."""
    if machine.threads:
        torch.set_num_threads(machine.threads)
    device = best_device() if machine.device == "auto" else torch.device(machine.device)
    if machine.fast_float32:
        faster_float32(device=device)
    return device


def build_model(run: RunConfig) -> BERT | GPT:
    """The run's model with its first weights, which follow from the run's seed."""
    kind = BERT if run.objective.task == "mlm" else GPT
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.train.seed)
        return kind(run.model)


def build_objective(run: RunConfig) -> Objective:
    """What the run minimises."""
    if run.objective.task == "mlm":
        return MaskedLanguageModeling(next_sentence=run.model.next_sentence, chunk=run.objective.chunk)
    return NextToken(chunk=run.objective.chunk)


@dataclass
class Streams:
    """A run's data: what it trains on, without end, and what it is judged by."""

    train: BatchStream
    held_out: list[Batch]


def build_streams(run: RunConfig, *, all_held_out: bool = False) -> Streams:
    """The batches of a run, from the folder that ``companion data`` wrote.

    Raises:
        ValueError: the folder or a part of it is missing, or the model's vocabulary is not the tokenizer's.
    """
    folder = Path(run.data.corpus)
    require((folder / TOKENIZER).is_file(), f"{folder} holds no corpus; make it with: companion data --out {folder}")
    tokenizer = load_tokenizer(folder / TOKENIZER)
    size = tokenizer.get_vocab_size()
    require(
        size == run.model.vocab_size,
        f"the tokenizer of {folder} has {size} pieces, but the model has vocab_size={run.model.vocab_size}; "
        f"set model.vocab_size={size}",
    )
    held_out = _stream(run, TokenCorpus.load(folder / HELD_OUT), tokenizer).once()
    some = -(-run.data.eval_tokens // run.data.tokens_per_batch) if run.data.eval_tokens else None
    batches = list(islice(held_out, None if all_held_out else some))
    return Streams(_stream(run, TokenCorpus.load(folder / TRAIN), tokenizer), batches)


def _stream(run: RunConfig, corpus: TokenCorpus, tokenizer: Tokenizer) -> BatchStream:
    size = {
        "length": run.data.length,
        "tokens_per_batch": run.data.tokens_per_batch,
        "seed": run.data.seed,
        "rank": distributed.rank(),
        "world_size": distributed.world_size(),
    }
    if run.objective.task == "lm":
        return causal_stream(corpus, tokenizer, **size)
    return mlm_stream(corpus, tokenizer, p=run.objective.mask_share, next_sentence=run.model.next_sentence, **size)


def build_trainer(run: RunConfig, *, device: torch.device | None = None) -> Trainer:
    """Model, data, objective and training configuration, put together."""
    streams = build_streams(run)
    return Trainer(
        build_model(run),
        streams.train,
        build_objective(run),
        run.train,
        device=device,
        eval_batches=streams.held_out,
    )


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


def summary(run: RunConfig, history: list[Record], *, command: str, corpus: dict[str, Any]) -> dict[str, Any]:
    """The record of a run, ready for ``book/results``: what was done, on what kind of machine, and the curves.

    Seconds and tokens are summed over all steps, so over all sessions of a run that was interrupted. The train losses
    of the curve are means over equal stretches; those of the held-out part stand as they were measured.
    """
    tokens, seconds = sum(r["tokens"] for r in history), sum(r["seconds"] for r in history)
    held_out = [
        {
            "step": int(r["step"]),
            **{k.removeprefix("valid_"): round(v, 4) for k, v in r.items() if k.startswith("valid_")},
        }
        for r in history
        if "valid_loss" in r
    ]
    terms = [k for k in history[-1] if k not in _NO_LOSS and not k.startswith("valid_")]
    last = history[-max(1, len(history) // 50) :]
    return {
        "command": command,
        "config": run.to_dict(),
        "machine": machine_class(run.machine),
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(seconds, 1),
        "steps": len(history),
        "tokens": int(tokens),
        "tokens_per_second": round(tokens / seconds, 1),
        "corpus": corpus,
        "train": _curve(history, terms),
        "held_out": held_out,
        "final": {
            "train": {k: round(sum(r[k] for r in last) / len(last), 4) for k in terms},
            "train_steps_averaged": len(last),
            "held_out": held_out[-1] if held_out else None,
        },
    }


_NO_LOSS = ("step", "lr", "grad_norm", "tokens", "seconds")


def _curve(history: list[Record], terms: list[str]) -> list[dict[str, float]]:
    width = max(1, -(-len(history) // POINTS))
    points = []
    for start in range(0, len(history), width):
        part = history[start : start + width]
        means = {k: round(sum(r[k] for r in part) / len(part), 4) for k in (*terms, "grad_norm")}
        points.append({"step": int(part[-1]["step"]), **means, "lr": part[-1]["lr"]})
    return points


def machine_class(machine: MachineConfig) -> dict[str, Any]:
    """What kind of machine this is: enough to judge a speed by, and nothing that names it."""
    return {
        "cores": os.cpu_count(),
        "threads": machine.threads or torch.get_num_threads(),
        "processor": platform.machine(),
        "kind": _processor(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
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


def corpus_facts(run: RunConfig) -> dict[str, Any]:
    """Counts of the two parts of the run's corpus."""
    folder = Path(run.data.corpus)
    return {part: json.loads((folder / part / "corpus.json").read_text(encoding="utf-8")) for part in (TRAIN, HELD_OUT)}

"""Pretraining: a run file and a corpus become a model, its batches and a trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from companion.data.corpus import TokenCorpus
from companion.data.sources import causal_stream, mlm_stream
from companion.data.stream import Batch, BatchStream
from companion.data.tokenizer import load_tokenizer
from companion.errors import require
from companion.models.bert import BERT
from companion.models.gpt import GPT
from companion.runtime import best_device, faster_float32, keep_memory
from companion.training import distributed
from companion.training.loop import Trainer
from companion.training.objectives import MaskedLanguageModeling, NextToken, Objective
from companion.training.runfile import MachineConfig, RunConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TRAIN, HELD_OUT, TOKENIZER, ABOUT = "train", "held-out", "tokenizer.json", "data.json"
"""What ``companion data`` writes into a corpus folder: two corpora, the tokenizer, and what they were made of."""


def use_machine(machine: MachineConfig) -> torch.device:
    """Set threads, memory and matrix products as the run wants them, and give its device.

    Raises:
        ValueError: the device is not there.
    """
    there: dict[str, Callable[[], bool]] = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    require(
        machine.device not in there or there[machine.device](),
        f"[machine] device={machine.device!r}, but PyTorch finds none here; take the fastest that is there with --set "
        "machine.device=auto, or the CPU with --set machine.device=cpu",
    )
    keep_memory()
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
    require(
        (folder / TOKENIZER).is_file(), f"{folder} holds no corpus; make it with: companion data SOURCE --out {folder}"
    )
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

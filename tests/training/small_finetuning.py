"""Fine-tunings on the mini reviews that take a fraction of a second."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

from companion import BERT, TransformerConfig
from companion.data.labelled import LabelledTexts, read_labelled, split_validation
from companion.models.pretrained import save_pretrained
from companion.training.finetune import LabelledSplit, build_finetuner
from companion.training.finetune_config import FineTuneRun
from companion.training.finetuner import FineTuner

SHAPE = {"vocab_size": 8192, "max_len": 40, "d_model": 8, "n_layers": 2, "n_heads": 2, "d_ff": 12, "position": "rope"}
METHODS = ("full", "probe", "lora", "scratch")


def write_bert(folder: Path, **changes: Any) -> str:
    """A BERT as if pretrained, in float16 like all that are exported."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = BERT(TransformerConfig(**{**SHAPE, "init_std": 0.3, "n_segments": 2, **changes}))
    return save_pretrained(folder, model, card="").as_posix()


def run_of(pretrained: str, *, method: str = "full", **sections: dict[str, Any]) -> FineTuneRun:
    """A run on 80 mini reviews, a fifth held out; the sections replace single values."""
    start = {"dropout": 0.2} if pretrained else {**SHAPE, "dropout": 0.2}
    decay = {} if method == "probe" else {"layer_decay": 0.9}
    values: dict[str, dict[str, Any]] = {
        "model": {"pretrained": pretrained, **start},
        "data": {"source": "mini", "limit": 80, "length": 24, "keep": "windows", "seed": 1},
        "finetune": {"method": method, "epochs": 3, "validation": 0.2, "average": 0.5, **decay},
        "lora": {"rank": 2} if method == "lora" else {},
        "train": {"batch_size": 16, "peak_lr": 0.01, "seed": 2},
    }
    return FineTuneRun.from_dict({name: {**values[name], **sections.get(name, {})} for name in values})


@cache
def mini(n: int = 80, seed: int = 1) -> LabelledTexts:
    return read_labelled("mini", limit=n, seed=seed)


def tuner_of(run: FineTuneRun) -> FineTuner:
    """The trainer of a run; the reviews are drawn once for all tests."""
    share = run.finetune.validation
    data = LabelledSplit(mini(), None)
    if share:
        data = LabelledSplit(*split_validation(mini(), share, seed=run.data.seed))
    return build_finetuner(run, data=data)


def killed_between_evaluations(folder: str, pretrained: str, method: str, step: int) -> None:
    """Fine-tune; die in the step after that one."""
    from tiny_training import die

    tuner = tuner_of(run_of(pretrained, method=method))
    update = tuner.optimizer.step

    def doomed(*arguments: Any) -> None:
        if tuner.step == step:
            die()
        update(*arguments)

    tuner.optimizer.step = doomed  # type: ignore[method-assign]
    tuner.fit(progress=False, checkpoint_dir=folder)


def trained_by_each_method(bert: str) -> dict[str, tuple[FineTuneRun, FineTuner]]:
    """A whole run of each method: the trainer and its run."""
    found = {}
    for method in METHODS:
        run = run_of(bert, method=method)
        tuner = tuner_of(run)
        tuner.fit(progress=False)
        found[method] = run, tuner
    return found

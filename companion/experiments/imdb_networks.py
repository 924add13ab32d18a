"""The networks on IMDB, as their recipes say: fine-tuned in full, by LoRA, by a probe, and from scratch.

With fewer labels than all, a recipe is changed as :func:`few_label_changes` says.
"""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from companion.experiments.imdb import Cell
from companion.experiments.imdb_source import UNCALIBRATED, Source
from companion.training.checkpoint import checkpoints, load_checkpoint
from companion.training.finetune import build_finetuner, finetuned, read_split
from companion.training.finetune_config import FineTuneRun, read_finetune
from companion.training.finetune_record import finetune_summary
from companion.training.finetuner import FineTuner
from companion.training.pretrain import use_machine
from companion.training.run_folder import write_run_values

BATCH = 16
LEAST_STEPS = 100
EPOCHS = {3000: 6, 10_000: 3}
"""Of these many labels; of fewer :data:`EPOCHS_OF_FEWER`."""
EPOCHS_OF_FEWER = 12
"""Of 1,000 labels and fewer, unless there would not be steps enough."""
RATES = {"full": 1e-3, "lora": 3e-3, "probe": 1e-2, "scratch": 1e-3}
# Rates and epochs were chosen with "full", judged on training reviews outside the draw of seed 0, never on the test.
# Those early trials were not recorded; the last ones, with 300 labels, are: trials.json, by benchmarks/trials.py.


def few_label_changes(method: str, labels: int) -> list[str]:
    """What differs from the recipe with few labels, as overrides.

    Batches are of ``BATCH`` reviews, and they are read more often, so that there are steps enough (Zhang et al. 2021:
    small sets are often given too little time), a tenth of them to warm up. Nothing is held out, as the linear models
    are fitted to all their labels, too: the last weights are taken, whose probabilities no temperature corrects. All
    layers learn at one rate.

    >>> few_label_changes("full", 100)[:3]
    ['finetune.epochs=0', 'finetune.validation=0.0', 'finetune.layer_decay=1.0']
    >>> few_label_changes("full", 1000)[3]
    'train.max_steps=756'
    """
    steps = max(LEAST_STEPS, EPOCHS.get(labels, EPOCHS_OF_FEWER) * -(-labels // BATCH))
    values: dict[str, float] = {
        "finetune.epochs": 0,
        "finetune.validation": 0.0,
        "finetune.layer_decay": 1.0,
        "train.max_steps": steps,
        "train.warmup_steps": steps // 10,
        "train.eval_every": 0,
        "train.batch_size": BATCH,
        "train.peak_lr": RATES[method],
    }
    return [f"{name}={value}" for name, value in values.items()]


def network_run(cell: Cell, source: Source, recipes: Path, overrides: Sequence[str] = ()) -> FineTuneRun:
    """The run of a cell: the recipe ``imdb-MODEL.toml`` with the cell's labels and seed, and single values replaced.

    With few labels "scratch" takes the recipe of "full", so that the two can be compared.
    """
    changes = [
        f"data.source={source.name}",
        f"data.limit={source.limit(cell)}",
        f"data.seed={cell.seed}",
        f"train.seed={cell.seed}",
    ]
    recipe = cell.model
    if not source.is_whole(cell):
        changes += [f"finetune.method={cell.model}", *few_label_changes(cell.model, cell.labels)]
        recipe = "full" if cell.model == "scratch" else cell.model
    return read_finetune(recipes / f"imdb-{recipe}.toml", [*changes, *overrides])


def network_cell(
    cell: Cell, source: Source, *, recipes: Path, runs: Path, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Train and judge a network: what the cell's file says, but for the command.

    And ``seconds_before``, those of the training steps that a checkpoint in ``runs`` brought along.

    Args:
        cell: which.
        source: of the reviews.
        recipes: the folder of the run files.
        runs: where a training that is interrupted leaves its checkpoint, under the cell's name. That of all labels
            stays: ``companion evaluate``, ``predict`` and ``export`` take it.
        overrides: of the recipe, like ``"machine.threads=2"``.

    Raises:
        KeyboardInterrupt: it was interrupted, and has saved.
        ValueError: the data are missing, or the checkpoint in ``runs`` is of another recipe.
    """
    run, folder = network_run(cell, source, recipes, overrides), runs / cell.name
    device = use_machine(run.machine)
    data = read_split(run)
    began = time.perf_counter()
    tuner = build_finetuner(run, data=data, device=device)
    features = time.perf_counter() - began if run.finetune.method == "probe" else 0.0
    before = train_in(folder, tuner)
    record = finetune_summary(tuner, data, command="")
    classifier = finetuned(run, tuner.state_dict())
    classifier.model.to(device)
    test = source.test(cell)
    logits = classifier.logits(test.texts, kind=tuner.config.precision)
    best = tuner.best
    whole = source.is_whole(cell)
    if not whole:
        shutil.rmtree(folder)
    kept = ("parameters", "trained", "operations", "config", "machine", "steps", "tokens", "real_share", "held_out")
    return {
        **source.judge(cell, logits, test, temperature=classifier.temperature),
        "validation_accuracy": None if best is None else best["scores"]["accuracy"],
        "seconds": record["seconds"] + features,
        "seconds_before": before,
        **(UNCALIBRATED if best is None else _calibrated(best)),
        **{name: record[name] for name in kept},
        **({"train": record["train"]} if whole else {}),
        "labels_used": {"train": len(data.train), "validation": 0 if data.validation is None else len(data.validation)},
    }


def train_in(folder: Path, tuner: FineTuner) -> float:
    """Train to the end, from the checkpoint in the folder if there is one.

    Returns:
        The seconds of the training steps before that checkpoint, 0 if there was none. Evaluations are not in them, and
        nothing that was lost when the earlier session ended.

    Raises:
        KeyboardInterrupt: it was interrupted, and has saved.
        ValueError: the checkpoint is of another recipe.
    """
    if checkpoints(folder):
        tuner.load_state_dict(load_checkpoint(folder))
    before = sum(record["seconds"] for record in tuner.history)
    write_run_values(folder, tuner.run.to_dict())
    tuner.fit(checkpoint_dir=folder)
    if tuner.interrupted:
        raise KeyboardInterrupt
    return before


def _calibrated(best: dict[str, Any]) -> dict[str, float | None]:
    return {"temperature": best["temperature"], "ece_before": best["ece"], "ece_after": best["calibrated_ece"]}

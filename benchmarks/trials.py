"""What helps fine-tuning, and what does not? One change of the recipe at a time, judged on training reviews.

    python -m benchmarks.trials                 # what is missing; about five minutes a cell on one core
    python -m benchmarks.trials --only recipe average

writes book/results/trials.json, one cell (trial, seed) after the other, and goes on where it was interrupted. Every
trial learns from the same 300 labels of a seed and answers the same other training reviews; the test is not touched.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from companion.data.labelled import LabelledTexts, read_labelled
from companion.experiments.imdb import Cell
from companion.experiments.imdb_networks import network_run
from companion.experiments.imdb_source import Source
from companion.experiments.results import Record
from companion.training.finetune import build_finetuner, finetuned, read_split
from companion.training.pretrain import use_machine

ROOT = Path(__file__).resolve().parents[1]
RESULT, RECIPES = ROOT / "book" / "results" / "trials.json", ROOT / "book" / "recipes"
BASE = ("finetune.layer_decay=0.8",)
"""In every trial but the one that says otherwise; what they found is in the recipe for few labels since then."""
TRIALS: Mapping[str, tuple[str, ...]] = {
    "recipe": (),
    "without pretraining": ("finetune.method=scratch",),
    "a quarter of the passes": ("train.max_steps=57", "train.warmup_steps=6"),
    "half the rate": ("train.peak_lr=5e-4",),
    "twice the rate": ("train.peak_lr=2e-3",),
    "one rate for all layers": ("finetune.layer_decay=1.0",),
    "no dropout": ("model.dropout=0.0",),
    "first token instead of mean": ("model.pooling=first",),
    "half as many tokens": ("data.length=256",),
    "average of the weights": ("finetune.average=0.99",),
}
"""What each trial replaces in the recipe."""
CONFIG: dict[str, Any] = {"labels": 300, "judged_on": 2500, "seeds": [0], "base": BASE, "trials": TRIALS}


def main(
    arguments: Sequence[str] | None = None,
    result: Path = RESULT,
    config: Mapping[str, Any] | None = None,
    source: Source | None = None,
) -> None:
    """Record what is missing."""
    config, source = dict(config or CONFIG), source or Source()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trials", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(config["trials"]), metavar="TRIAL", help="by name; see below")
    parser.epilog = f"trials: {', '.join(config['trials'])}"
    only = parser.parse_args(arguments).only or list(config["trials"])
    record = Record(result, command="python -m benchmarks.trials", config=config)
    for seed in config["seeds"]:
        cell = Cell("full", config["labels"], seed)
        others = others_than(source, cell, config["judged_on"])
        for name in only:
            if not record.has(trial=name, seed=seed):
                values = tried(cell, source, [*config["base"], *config["trials"][name]], others)
                record.add({"trial": name, "seed": seed}, values)
                print(f"{name}, seed {seed}: {values}", flush=True)


def others_than(source: Source, cell: Cell, n: int) -> LabelledTexts:
    """N training reviews after those of the cell, whose texts are none of the cell's.

    A smaller draw is the beginning of a larger one, so the rest of a larger one is new; a few texts stand there twice.
    """
    drawn = read_labelled(source.name, limit=cell.labels + n, seed=cell.seed)
    used = set(drawn.texts[: cell.labels])
    return drawn.take([i for i in range(cell.labels, len(drawn)) if drawn.texts[i] not in used])


def tried(cell: Cell, source: Source, changes: Sequence[str], others: LabelledTexts) -> dict[str, Any]:
    """Train with these changes of the recipe; how many of the other reviews are answered right."""
    run = network_run(cell, source, RECIPES, changes)
    device = use_machine(run.machine)
    tuner = build_finetuner(run, data=read_split(run), device=device)
    with tempfile.TemporaryDirectory() as folder:
        tuner.fit(checkpoint_dir=Path(folder))
    if tuner.interrupted:
        raise KeyboardInterrupt
    classifier = finetuned(run, tuner.state_dict())
    classifier.model.to(device)
    right = classifier.logits(others.texts).argmax(dim=-1) == torch.tensor(others.labels)
    return {"accuracy": float(right.double().mean()), "texts": len(others), "steps": tuner.config.max_steps}


if __name__ == "__main__":
    main()

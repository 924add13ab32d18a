"""Does word order decide in the mini reviews? A tuned linear model on n-grams beside a small Transformer.

    python -m benchmarks.mini_reviews [--seeds 0 1 2] [--out book/results/mini_reviews.json]

writes one cell (model, seed) after the other, and goes on where it was interrupted; move the file away to begin anew,
as after a change of the grammar. With each seed both models learn from the same reviews of the training split, of which
most are pairs of twins, and are judged on the same reviews of the test split, whose sentences and content words no
training review has. The linear model also learns from as many reviews drawn singly, which suit it better.
"""

import argparse
from pathlib import Path
from typing import Any

from companion.data.mini_reviews import MiniReviews, mini_reviews
from companion.experiments.mini_reviews import (
    SHAPE,
    ReviewClassifier,
    data_digest,
    paired_reviews,
    train_small_classifier,
)
from companion.experiments.ngrams import WEIGHTINGS, ngram_accuracy
from companion.experiments.results import Record
from companion.runtime import keep_memory

RESULT = Path(__file__).resolve().parents[1] / "book" / "results" / "mini_reviews.json"
MODELS = ("n-grams", "n-grams, reviews drawn singly", "Transformer")
AT_MOST, AT_LEAST = 0.75, 0.95  #: what the linear model must not exceed, what the Transformer must reach
TRAINING = {"steps": 4000, "batch_size": 64, "peak_lr": 2e-3, "unknown": 0.08, "weight_decay": 0.1}
CONFIG: dict[str, Any] = {
    "train": 48_000,
    "test": 4000,
    "weightings": WEIGHTINGS,
    "longest": [1, 2, 3],
    "cs": [0.1, 1.0, 10.0],
    "training": TRAINING,
    "model": {**SHAPE, "dropout": 0.1},
}


def reviews_of(model: str, seed: int, config: dict[str, Any]) -> tuple[MiniReviews, MiniReviews]:
    """What a model learns from and what it is judged on."""
    draw = mini_reviews if model.endswith("singly") else paired_reviews
    return draw(config["train"], seed=2 * seed), mini_reviews(config["test"], seed=2 * seed + 1, split="test")


def linear_cell(train: MiniReviews, test: MiniReviews, config: dict[str, Any]) -> dict[str, Any]:
    """The n-gram model, tuned on a part of ``train``."""
    grid = {key: config[key] for key in ("weightings", "longest", "cs")}
    return vars(ngram_accuracy(train, test, **grid))


def transformer_cell(train: MiniReviews, test: MiniReviews, config: dict[str, Any], seed: int) -> dict[str, Any]:
    """The Transformer, trained from scratch; its accuracy by construction, too."""
    classifier = train_small_classifier(train, seed=seed, progress=True, **config["training"], **config["model"])
    right = classifier.right(test)
    return {
        "accuracy": sum(right) / len(right),
        "by_construction": _by_construction(test, right),
        "seconds_of_training": round(classifier.seconds, 1),
        "parameters": _parameters(classifier),
        "losses": [round(x, 4) for x in classifier.losses[9::10]],
    }


def _by_construction(test: MiniReviews, right: list[bool]) -> dict[str, float]:
    found: dict[str, list[bool]] = {name: [] for name in sorted(set(test.constructions))}
    for name, is_right in zip(test.constructions, right, strict=True):
        found[name].append(is_right)
    return {name: round(sum(hits) / len(hits), 4) for name, hits in found.items()}


def _parameters(classifier: ReviewClassifier) -> int:
    return sum(p.numel() for p in classifier.model.parameters())


def main(arguments: list[str] | None = None, config: dict[str, Any] | None = None) -> int:
    """Record what is missing; 0 if both goals are met with every seed, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mini_reviews", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one run of both models each")
    parser.add_argument("--out", type=Path, default=RESULT, help="where the record goes (default: %(default)s)")
    options = parser.parse_args(arguments)
    config = {**(config or CONFIG), "data": data_digest()}
    record = Record(options.out, command="python -m benchmarks.mini_reviews", config=config)
    keep_memory()
    for seed, model in [(seed, model) for seed in options.seeds for model in MODELS]:
        if record.has(model=model, seed=seed):
            continue
        train, test = reviews_of(model, seed, config)
        print(f"{model}, seed {seed}: learns from {len(train):,} reviews, is judged on {len(test):,}", flush=True)
        cell = (
            transformer_cell(train, test, config, seed) if model == "Transformer" else linear_cell(train, test, config)
        )
        record.add({"model": model, "seed": seed}, cell)
    return report(record)


def report(record: Record) -> int:
    """Say what was recorded, and whether it meets the goals."""
    missed = 0
    for run in record.content["runs"]:
        met = meets_its_goal(run)
        missed += not met
        bound = f"at least {AT_LEAST:.0%}" if run["model"] == "Transformer" else f"at most {AT_MOST:.0%}"
        said = "reached" if met else "MISSED"
        print(f"{run['model']:>30}, seed {run['seed']}: {run['accuracy']:.1%} of the test; goal {bound}: {said}")
    print(f"{record.path}: {len(record.content['runs'])} runs, {record.content['seconds']} s")
    return int(missed > 0)


def meets_its_goal(run: dict[str, Any]) -> bool:
    """Whether the Transformer reaches its bound; whether no setting of the linear model exceeds its own."""
    if run["model"] == "Transformer":
        return bool(run["accuracy"] >= AT_LEAST)
    return bool(run["highest"] <= AT_MOST)


if __name__ == "__main__":
    raise SystemExit(main())

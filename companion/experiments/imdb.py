r"""What was measured on IMDB: models, numbers of labels and seeds, one file a cell in ``book/results/imdb``.

``python -m benchmarks.imdb`` (``make reproduce``) fills the matrix, in parts and in any order. Read it like this::

    for row in summary(load_cells()):
        print(row.model, row.labels, row.accuracy, row.spread)

A cell with all 25,000 labels is judged on the whole test split, one with fewer on the same 5,000 test reviews for all.
The few labels are drawn by the cell's seed, as many of each class, and a smaller draw is the beginning of a larger one.
With all labels the seed decides which tenth is held out to validate on, the first weights, and the order.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from companion.errors import require
from companion.experiments.results import find_result
from companion.files import write_text_whole

MODELS = {
    "full": "pretrained, all of it fine-tuned",
    "lora": "pretrained, low-rank adapters and a head",
    "probe": "pretrained and frozen, a linear head",
    "scratch": "the same network from random weights",
    "nb": "logistic regression, 1-3 words, weighted by naive Bayes",
    "tfidf": "logistic regression, 1-2 words, weighted by TF-IDF",
    "listing": "the source's listing, completed",
    "listing-mended": "the source's listing, mended",
}
"""What each model is, in the order of the tables."""
NETWORKS, LINEAR, LISTINGS = ("full", "lora", "probe", "scratch"), ("nb", "tfidf"), ("listing", "listing-mended")
WHOLE = 25_000
COUNTS = (10, 30, 100, 300, 1000, 3000, 10_000)
"""Fewer labels than all; measured for the models in ``CURVES``."""
CURVES = ("full", "scratch", "nb", "tfidf")
VALIDATION = 0.1
"""Share of all labels that every model holds out to choose its settings by; the networks' recipes say the same."""
FIELDS = (
    *("accuracy", "accuracy_without_shared", "validation_accuracy", "seconds", "parameters", "trained", "operations"),
    *("temperature", "ece_before", "ece_after"),
)
"""What every cell says, None where there is no such thing; see :func:`load_cells`."""
_FOLDER = "imdb"


@dataclass(frozen=True)
class Cell:
    """One model, trained once.

    >>> Cell("full", 25_000, 0).name
    'full-n25000-s0'
    """

    model: str
    labels: int
    seed: int

    @property
    def name(self) -> str:
        """The name of its file, without the ending."""
        return f"{self.model}-n{self.labels}-s{self.seed}"


def draws(labels: int) -> int:
    """How many seeds a number of labels is measured with: few labels are drawn luckily or unluckily.

    >>> [draws(n) for n in (10, 300, 1000, 25_000)]
    [10, 10, 3, 3]
    """
    return 10 if labels <= 300 else 3


def matrix(
    models: Sequence[str] = (), labels: Sequence[int] = (), seeds: Sequence[int] = (), *, whole: int = WHOLE
) -> list[Cell]:
    """The cells of these models, numbers of labels and seeds, one seed of everything after the other.

    Args:
        models: empty = all; with ``labels`` all that are measured with these.
        labels: empty = all that a model is measured with.
        seeds: empty = as many as :func:`draws` says.
        whole: how many labels are all of them.

    Raises:
        ValueError: there is no such model.

    >>> [cell.name for cell in matrix(["nb", "lora"], seeds=[0])][-3:]
    ['nb-n10000-s0', 'nb-n25000-s0', 'lora-n25000-s0']
    """
    unknown = sorted(set(models) - set(MODELS))
    require(not unknown, f"there is no model {unknown}; choose from {list(MODELS)}")
    found = []
    for model in models or MODELS:
        measured = [n for n in COUNTS if n < whole and model in CURVES] + [whole]
        wanted = labels if models and labels else [n for n in measured if not labels or n in labels]
        found += [Cell(model, n, seed) for n in wanted for seed in seeds or range(draws(n))]
    order = {model: i for i, model in enumerate(models or MODELS)}
    return sorted(found, key=lambda cell: (cell.seed, order[cell.model], cell.labels))


def write_cell(folder: Path, cell: Cell, values: Mapping[str, Any]) -> Path:
    """Write a cell's file, whole or not at all; lists of numbers stand on one line.

    Raises:
        ValueError: one of :data:`FIELDS` is missing.
    """
    missing = [name for name in FIELDS if name not in values]
    require(not missing, f"{cell.name} lacks {missing}; give None where there is no such thing")
    content = {"model": cell.model, "labels": cell.labels, "seed": cell.seed, **values}
    wrong = content.pop("wrong_rows", None)
    text = json.dumps(content, indent=1)
    if wrong is not None:
        text = f'{text[:-2]},\n "wrong_rows": {json.dumps(wrong)}\n}}'
    path = folder / f"{cell.name}.json"
    write_text_whole(path, text + "\n")
    return path


def load_cells(folder: Path | None = None) -> list[dict[str, Any]]:
    """All cells that are recorded, in the order of :data:`MODELS`, by labels and seed.

    Each is a dictionary: ``model``, ``labels``, ``seed``, and

    - ``accuracy`` on the test; ``accuracy_without_shared`` without the 123 test reviews whose text is in train (with
      all labels only); ``validation_accuracy`` on what was held out, by which settings or weights were chosen;
    - ``seconds`` of training on one thread: of a network its steps (and a probe's features) by the clock; of the
      others processor time, the choice of settings included;
    - ``parameters``, how many of them were ``trained``, and ``operations`` of the training;
    - ``temperature``, and the calibration error on the held-out texts before and after it was applied, ``ece_before``
      and ``ece_after``;
    - ``config``, ``machine``, ``date``, ``command``; with all labels ``wrong_rows``, the rows of the test split that it
      got wrong; and what else a model has to say.

    Args:
        folder: of the files; None = ``results/imdb`` or ``book/results/imdb`` here or in a folder above, or those that
            came with an installed package.

    Raises:
        ValueError: there is no such folder, or no cell in it.
    """
    folder = find_result(_FOLDER) if folder is None else folder
    cells: list[dict[str, Any]] = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("[!.]*.json"))
    ]
    require(bool(cells), f"{folder} holds no cell; measure some: python -m benchmarks.imdb")
    order = list(MODELS)
    return sorted(cells, key=lambda cell: (order.index(cell["model"]), cell["labels"], cell["seed"]))


@dataclass(frozen=True)
class Summary:
    """A model with a number of labels, over its seeds.

    Attributes:
        model: which.
        labels: how many.
        seeds: how many cells there are.
        accuracy: their mean.
        spread: sample standard deviation of the accuracy, ``√(Σ (aᵢ - mean)² / (n - 1))``; None of a single one.
        accuracy_without_shared: mean, as those below; None unless all cells have it.
        validation_accuracy: of the texts held out.
        seconds: of training, the least and the most.
        bfloat16: how many of the seeds were multiplied in bfloat16, the others in float32.
        parameters: of the model.
        trained: how many of them.
        operations: of the training.
        ece: calibration error on the test, before the temperature that the held-out texts gave.
        calibrated_ece: and after.
    """

    model: str
    labels: int
    seeds: int
    accuracy: float
    spread: float | None
    accuracy_without_shared: float | None
    validation_accuracy: float | None
    seconds: tuple[float, float] | None
    bfloat16: int
    parameters: float | None
    trained: float | None
    operations: float | None
    ece: float | None
    calibrated_ece: float | None


def summary(cells: Iterable[Mapping[str, Any]]) -> list[Summary]:
    """Means and spread over the seeds, in the order of the cells.

    >>> empty = dict.fromkeys(FIELDS)
    >>> cells = [{**empty, "model": "nb", "labels": 10, "seed": 10 * a, "accuracy": a} for a in (0.5, 0.6, 0.7)]
    >>> (row,) = summary(cells)
    >>> row.seeds, round(row.accuracy, 4), round(row.spread, 4), row.seconds, row.bfloat16
    (3, 0.6, 0.1, None, 0)
    """
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["model"], cell["labels"]), []).append(cell)
    rows = []
    for (model, labels), group in groups.items():
        seeds = [cell["seed"] for cell in group]
        require(len(set(seeds)) == len(seeds), f"{model} with {labels} labels: a seed stands twice among {seeds}")
        accuracies = [cell["accuracy"] for cell in group]
        means = {name: _mean([cell[name] for cell in group]) for name in _MEANS}
        means |= {name: _mean([cell.get("test", {}).get(name) for cell in group]) for name in _TEST_MEANS}
        spread = stdev(accuracies) if len(group) > 1 else None
        seconds = [cell["seconds"] for cell in group]
        times = None if None in seconds else (min(seconds), max(seconds))
        halved = sum(cell.get("config", {}).get("train", {}).get("precision") == "bf16" for cell in group)
        rows.append(
            Summary(model, labels, len(group), fmean(accuracies), spread, seconds=times, bfloat16=halved, **means)
        )
    return rows


_TEST_MEANS = ("ece", "calibrated_ece")
_MEANS = ("accuracy_without_shared", "validation_accuracy", "parameters", "trained", "operations")


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return fmean(there) if len(there) == len(values) else None

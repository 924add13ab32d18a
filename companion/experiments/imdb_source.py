"""What the cells of :mod:`companion.experiments.imdb` learn from, and how all of them are judged.

Letters in the shapes: N texts, C classes.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from companion.data.labelled import IMDB, LabelledTexts, read_labelled
from companion.errors import require
from companion.experiments.imdb import WHOLE, Cell
from companion.training.calibration import expected_calibration_error, fit_temperature
from companion.training.scores import class_scores, data_scores

TEST_SEED = 5000
"""Draws the test reviews that judge a model with fewer labels than all, the same for every cell."""
LEAST = 10


@dataclass(frozen=True)
class Source:
    """Where the reviews come from.

    Attributes:
        name: ``"imdb"``, or ``"mini"`` to try everything out.
        whole: how many labels are all of them.
        sample: how many test reviews judge a model that has seen fewer.
    """

    name: str = IMDB
    whole: int = WHOLE
    sample: int = 5000

    def is_whole(self, cell: Cell) -> bool:
        """Whether a cell has all labels."""
        return cell.labels == self.whole

    def limit(self, cell: Cell) -> int:
        """The ``limit`` of :func:`companion.data.labelled.read_labelled`, with which the cell's seed draws its labels.

        Raises:
            ValueError: there are not so many, or they are too few to tell anything.
        """
        require(
            LEAST <= cell.labels <= self.whole,
            f"{cell.labels} labels of {self.name}: take {LEAST} at least and {self.whole} at most",
        )
        return 0 if self.is_whole(cell) and self.name == IMDB else cell.labels

    def train(self, cell: Cell) -> LabelledTexts:
        """The reviews whose labels the cell may use, those that it validates on included."""
        return read_labelled(self.name, limit=self.limit(cell), seed=cell.seed)

    def test(self, cell: Cell) -> LabelledTexts:
        """The reviews that it is judged on: of IMDB the whole split, or else the sample."""
        limit = 0 if self.is_whole(cell) and self.name == IMDB else self.sample
        return read_labelled(self.name, part="test", limit=limit, seed=TEST_SEED)

    def judge(self, cell: Cell, logits: Tensor, test: LabelledTexts, *, temperature: float = 1.0) -> dict[str, Any]:
        """What the logits (N, C) of the test reviews are worth, in the fields of a cell's file."""
        labels, whole = torch.tensor(test.labels), self.is_whole(cell)
        if whole:
            scores = data_scores(logits, test, source=self.name, part="test", temperature=temperature)
        else:
            scores = class_scores(logits, labels, test.names, temperature=temperature)
        found = {
            "accuracy": scores["accuracy"],
            "accuracy_without_shared": scores.get("accuracy_unseen"),
            "test": {"texts": len(test), **{name: scores[name] for name in ("loss", "ece", "calibrated_ece")}},
        }
        if whole:
            wrong = (logits.argmax(dim=-1) != labels).tolist()
            found["wrong_rows"] = [row for row, miss in zip(test.rows, wrong, strict=True) if miss]
        return found


def calibration(logits: Tensor, labels: Tensor) -> dict[str, float | None]:
    """The temperature that suits held-out texts, and their calibration error before and after it; logits (N, C).

    >>> z = torch.tensor([[4.0, 0.0]]).repeat(4, 1)
    >>> {name: round(value, 3) for name, value in calibration(z, torch.tensor([0, 0, 0, 1])).items()}
    {'temperature': 3.641, 'ece_before': 0.232, 'ece_after': 0.0}
    """
    temperature = fit_temperature(logits, labels)
    before, after = (
        expected_calibration_error((logits.double() / t).softmax(dim=-1), labels) for t in (1.0, temperature)
    )
    return {"temperature": temperature, "ece_before": before, "ece_after": after}


UNCALIBRATED: dict[str, float | None] = dict.fromkeys(("temperature", "ece_before", "ece_after"))
"""Of a cell that held nothing out."""

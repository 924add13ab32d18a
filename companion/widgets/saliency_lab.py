"""W8, the saliency lab: which words made the classifier say so? Four methods, side by side, and where they part."""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal, Self

import torch
import traitlets
from torch import Tensor

from companion.errors import require
from companion.models import saliency
from companion.models.text_classifier import TextClassifier
from companion.models.word_score import Baseline, WordScore
from companion.widgets.base import Widget, number, table
from companion.widgets.saliency_data import BASELINES, STEPS, saliency_data, unpack_scores

ASSET = "saliency_lab.json"
Part = Literal["toy", "text"]
LEAVE, GRADIENT, INTEGRATED = "leave one out", "gradient × input", "integrated gradients"
TOY_MASK = 0.5
"""What ``[MASK]`` counts in the toy."""
KEYS = ("part", "sentence", "baseline", "steps", "off", "weights")


@cache
def shipped_saliency() -> dict[str, Any]:
    """The lab's data of the book's own classifier, on the book's own sentences."""
    data: dict[str, Any] = json.loads(files("companion").joinpath("assets", ASSET).read_text(encoding="utf-8"))
    return data


class SaliencyLab(Widget):
    r"""How much each word has to do with a score F: :mod:`companion.models.saliency`, with words that you take out.

    ``part="toy"``: ``F = tanh(Σ w)`` of a few numbers, where every method can be checked by hand. ``part="text"``: a
    classifier's ``F = log(p / (1 - p))`` of a sentence. A word that is taken out is as in the baseline, zero or
    ``[MASK]``.

    Args:
        data: what :func:`companion.widgets.saliency_data.saliency_data` gave; by default of the book's own classifier.
        part: ``"toy"`` or ``"text"``.
        sentence: number of the sentence.
        baseline: ``"zero"`` or ``"mask"``.
        steps: of integrated gradients, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96 or 128.
        off: numbers of the words that are taken out.
        weights: the numbers of the toy, 2 to 8 from -10 to 10.

    Raises:
        ValueError: a number out of range.

    >>> lab = SaliencyLab(part="toy")
    >>> lab
    SaliencyLab(part=toy, baseline=zero, steps=32)
    >>> {name: [round(a, 4) for a in values] for name, values in lab.attributions.items()}["integrated gradients"]
    [1.018, -0.3393, 0.1697]
    >>> {name: round(gap, 4) for name, gap in lab.gaps.items()}
    {'leave one out': 0.2385, 'gradient × input': -0.4978, 'integrated gradients': 0.0}
    """

    name = "saliency_lab"

    data = traitlets.Dict().tag(sync=True, page=True)
    part = traitlets.Enum(["toy", "text"], "text").tag(sync=True, page=True)
    sentence = traitlets.Int(0).tag(sync=True, page=True)
    baseline = traitlets.Enum(list(BASELINES), "zero").tag(sync=True, page=True)
    steps = traitlets.Int(32).tag(sync=True, page=True)
    off = traitlets.List(traitlets.Int()).tag(sync=True, page=True)
    weights = traitlets.List(traitlets.Float()).tag(sync=True, page=True)
    toy_mask = traitlets.Float(TOY_MASK).tag(sync=True, page=True)
    source = traitlets.Unicode("").tag(sync=True, page=True)
    kernel = traitlets.Dict().tag(sync=True)  # not the page's: it has no kernel that could answer

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        *,
        part: Part = "text",
        sentence: int = 0,
        baseline: Baseline = "zero",
        steps: int = 32,
        off: Sequence[int] = (),
        weights: Sequence[float] = (1.5, -0.5, 0.25),
        **traits: Any,
    ) -> None:
        self._scores: list[WordScore] = []
        state = {"part": part, "sentence": sentence, "baseline": baseline, "steps": steps}
        numbers = {"off": [int(i) for i in off], "weights": [float(w) for w in weights]}
        super().__init__(data=shipped_saliency() if data is None else data, **state, **numbers, **traits)
        self._check()

    @classmethod
    def of(cls, classifier: TextClassifier, *texts: str, target: str | None = None, **traits: Any) -> Self:
        """The lab for any classifier and any texts, in a kernel, which answers where there are more than ten words."""
        device = next(classifier.model.parameters()).device
        source = f"kernel: {type(classifier.model).__name__}, {device}"
        lab = cls(saliency_data(classifier, texts, target=target), source=source, **traits)
        lab._scores = [WordScore(classifier, text, target=target) for text in texts]
        lab._answer()
        return lab

    def _check(self) -> None:
        n = len(self.data["sentences"])
        require(0 <= self.sentence < n, f"sentence={self.sentence} must be from 0 to {n - 1}")
        require(self.steps in STEPS, f"steps={self.steps} must be one of {list(STEPS)}")
        require(
            2 <= len(self.weights) <= 8 and all(-10 <= w <= 10 for w in self.weights),
            f"weights={list(self.weights)} must be 2 to 8 numbers from -10 to 10",
        )
        off, words = list(self.off), len(self.words)
        require(
            len(set(off)) == len(off) and all(0 <= i < words for i in off),
            f"off={off} must be different numbers of words, from 0 to {words - 1}",
        )

    @property
    def words(self) -> list[str]:
        """The words, of the toy their names."""
        if self.part == "toy":
            return [f"w{i}" for i in range(1, len(self.weights) + 1)]
        return list(self._row["words"])

    @property
    def _row(self) -> dict[str, Any]:
        row: dict[str, Any] = self.data["sentences"][self.sentence]
        return row

    def _toy(self) -> tuple[Tensor, Tensor]:
        x = torch.tensor(list(self.weights), dtype=torch.float64)[:, None]  # (W, 1)
        return x, torch.full_like(x, self.toy_mask if self.baseline == "mask" else 0.0)

    def score(self, off: Sequence[int] | None = None) -> float:
        """F with these words taken out, by default those that are.

        Raises:
            ValueError: the text has more than ten words, and the lab was not made by :meth:`of`.
        """
        self._check()
        out = set(self.off if off is None else off)
        if self.part == "toy":
            x, base = self._toy()
            return float(toy_score(torch.where(_marks(out, len(x))[:, None], base, x)[None]))
        kept = self._row[self.baseline]
        if "subsets" in kept:
            return float(unpack_scores(kept["subsets"])[sum(1 << i for i in out)])
        require(bool(self._scores), "only SaliencyLab.of(classifier, text) can ask for a text of more than ten words")
        score = self._scores[self.sentence]
        erased = torch.tensor([int(w) in out for w in score.words])[:, None].to(score.x.device)
        with torch.no_grad():
            return float(score(torch.where(erased, score.baseline(self.baseline), score.x)[None]))

    @property
    def attributions(self) -> dict[str, list[float]]:
        """What each method says of each word of the whole text, rollout (of a text) last."""
        self._check()
        if self.part == "toy":
            x, base = self._toy()
            return {
                LEAVE: saliency.leave_one_out(toy_score, x, base).tolist(),
                GRADIENT: saliency.gradient_x_input(toy_score, x, base).tolist(),
                INTEGRATED: saliency.integrated_gradients(toy_score, x, base, steps=self.steps).tolist(),
            }
        kept = self._row[self.baseline]
        integrated = kept["integrated"][STEPS.index(self.steps)]
        methods = (kept["leave"], kept["gradient"], integrated, self._row["rollout"])
        names = (LEAVE, GRADIENT, INTEGRATED, "rollout")
        return {name: [float(a) for a in values] for name, values in zip(names, methods, strict=True)}

    @property
    def ends(self) -> tuple[float, float]:
        """F of the whole text, and of the baseline."""
        if self.part == "toy":
            return self.score([]), self.score(range(len(self.weights)))
        whole, empty = self._row[self.baseline]["ends"]
        return float(whole), float(empty)

    @property
    def gaps(self) -> dict[str, float]:
        """``Σ_w a_w - (F(x) - F(x'))`` of the three methods that share out a score."""
        whole, empty = self.ends
        return {name: sum(values) - (whole - empty) for name, values in self.attributions.items() if name != "rollout"}

    @property
    def effects(self) -> list[float]:
        """What each word is worth among the others as they are: F with it less F without it."""
        off = set(self.off)
        return [self.score(sorted(off - {i})) - self.score(sorted(off | {i})) for i in range(len(self.words))]

    @traitlets.observe("part", "sentence", "baseline", "off", "data")
    def _answer(self, change: Any = None) -> None:
        """Where the page has no subsets, the kernel says what the selection is worth."""
        state = [self.sentence, self.baseline, sorted(self.off)]
        if self.part == "toy" or not self._scores or self.kernel.get("state") == state:
            return
        try:
            self._check()
        except ValueError:  # the figure says so itself, and keeps its last drawing
            return
        if "subsets" not in self._row[self.baseline]:
            self.kernel = {"state": state, "now": self.score(), "effects": self.effects}

    def _summary(self) -> dict[str, object]:
        keys = ("part", "baseline", "steps") if self.part == "toy" else ("part", "sentence", "baseline", "steps")
        return {key: getattr(self, key) for key in keys}

    def _fallback(self) -> str:
        values, (whole, empty) = self.attributions, self.ends
        caption = f"F = {number(whole)} with all words, {number(empty)} with none"
        rows = [list(row) for row in zip(*values.values(), strict=True)]
        gaps = [f"{name}: {number(gap)}" for name, gap in self.gaps.items()]
        return table(caption, rows, self.words, list(values)) + f"<p>Completeness gap: {', '.join(gaps)}</p>"


def toy_score(x: Tensor) -> Tensor:
    """The toy, ``tanh(Σ w)``: (B, W, 1) to (B,).

    >>> toy_score(torch.tensor([[[0.5], [-0.5]]])).tolist()
    [0.0]
    """
    return x.sum(dim=(1, 2)).tanh()


def _marks(out: set[int], n: int) -> Tensor:
    return torch.tensor([i in out for i in range(n)])

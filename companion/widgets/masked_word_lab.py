"""W7, the masked-word lab: what a masked language model expects in a gap, and how it came to know."""

import base64
import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import traitlets

from companion.errors import require
from companion.models.bert import BERT
from companion.widgets.base import Widget, table
from companion.widgets.masked_word_data import TEMPERATURES, lab_data, probabilities

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ASSET = "masked_word_lab.json"
ROOM_TEMPERATURE = TEMPERATURES.index(1.0)


@cache
def shipped_data() -> dict[str, Any]:
    """The lab's data of the book's own model, through its training."""
    data: dict[str, Any] = json.loads(files("companion").joinpath("assets", ASSET).read_text(encoding="utf-8"))
    return data


class MaskedWordLab(Widget):
    r"""A sentence, one masked word, and the model's probabilities for it: ``softmax(z / τ)`` over the whole vocabulary.

    Args:
        data: what :func:`companion.widgets.masked_word_data.lab_data` gave; by default that of the book's own model.
        sentence: number of the sentence.
        gap: number of the masked word among those that can be masked.
        checkpoint: number of the saved step; by default the last.
        temperature: number of τ in the grid of 25 temperatures; by default τ = 1.
        smoothing: of the training curve, ``s_t = β s_(t-1) + (1 - β) x_t``, from 0 to 0.99.
        seed: of the corruption that is shown.

    Raises:
        ValueError: a number out of range.

    >>> lab = MaskedWordLab()
    >>> len(lab.top(5)), lab.temperature
    (5, 14)
    """

    name = "masked_word_lab"

    data = traitlets.Dict().tag(sync=True, page=True)
    temperatures = traitlets.List(default_value=list(TEMPERATURES)).tag(sync=True, page=True)
    sentence = traitlets.Int(0).tag(sync=True, page=True)
    gap = traitlets.Int(0).tag(sync=True, page=True)
    checkpoint = traitlets.Int(0).tag(sync=True, page=True)
    temperature = traitlets.Int(ROOM_TEMPERATURE).tag(sync=True, page=True)
    smoothing = traitlets.Float(0.9).tag(sync=True, page=True)
    seed = traitlets.Int(1).tag(sync=True, page=True)
    source = traitlets.Unicode("").tag(sync=True, page=True)

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        *,
        sentence: int = 0,
        gap: int = 0,
        checkpoint: int | None = None,
        **traits: Any,
    ) -> None:
        data = shipped_data() if data is None else data
        checkpoint = len(data["steps"]) - 1 if checkpoint is None else checkpoint
        super().__init__(data=data, sentence=sentence, gap=gap, checkpoint=checkpoint, **traits)
        self._check()

    @classmethod
    def of(cls, model: BERT, tokenizer: "Tokenizer", *texts: str) -> Self:
        """The lab for any texts and any model, in a kernel; there is one step then, and no curve."""
        return cls(lab_data({0: model}, tokenizer, texts), source=f"kernel: {type(model).__name__}, cpu")

    def _check(self) -> None:
        rows = self.data["sentences"]
        bounds = {
            "sentence": len(rows),
            "gap": len(rows[min(max(self.sentence, 0), len(rows) - 1)]["gaps"]),
            "checkpoint": len(self.data["steps"]),
            "temperature": len(TEMPERATURES),
        }
        for name, n in bounds.items():
            require(0 <= getattr(self, name) < n, f"{name}={getattr(self, name)} must be from 0 to {n - 1}")
        require(0.0 <= self.smoothing <= 0.99, f"smoothing={self.smoothing} must be from 0 to 0.99")

    @property
    def steps(self) -> list[int]:
        """The training steps whose weights were kept."""
        return list(self.data["steps"])

    @property
    def tokens(self) -> list[str]:
        """The sentence, with its gap."""
        row = self.data["sentences"][self.sentence]
        return [("[MASK]" if i == row["gaps"][self.gap] else token) for i, token in enumerate(row["tokens"])]

    @property
    def word(self) -> str:
        """What was masked."""
        row = self.data["sentences"][self.sentence]
        return str(row["tokens"][row["gaps"][self.gap]])

    def distribution(self, checkpoint: int | None = None) -> tuple[list[str], np.ndarray[Any, Any], float]:
        """The likeliest words, their probabilities, and what is left for all other words."""
        self._check()
        at = self.checkpoint if checkpoint is None else checkpoint
        ids, packed = self.data["sentences"][self.sentence]["steps"][at][self.gap]
        words = [self.data["words"][i] for i in _ids(ids)]
        p, others = probabilities(packed, self.temperature, kept=len(words))
        return words, p, others

    def top(self, n: int = 5, *, step: int | None = None) -> list[tuple[str, float]]:
        """The n likeliest words and their probabilities, of the chosen checkpoint or of a training step.

        Raises:
            ValueError: the weights of that step were not kept.
        """
        require(step is None or step in self.steps, f"step={step} was not kept; there are {self.steps}")
        words, p, _ = self.distribution(None if step is None else self.steps.index(step))
        return [(word, float(x)) for word, x in zip(words[:n], p[:n], strict=True)]

    def _summary(self) -> dict[str, object]:
        return {"sentence": self.sentence, "gap": self.gap, "step": self.steps[self.checkpoint]}

    def _fallback(self) -> str:
        words, p, others = self.distribution()
        shown = 10
        rows = [*words[:shown], f"the next {len(words) - shown}", "all other words"]
        values = [[x] for x in (*p[:shown].tolist(), float(p[shown:].sum()), others)]
        return table(" ".join(self.tokens), values, rows, [f"probability at step {self.steps[self.checkpoint]}"])


def _ids(text: str) -> list[int]:
    return [int(i) for i in np.frombuffer(base64.b64decode(text), dtype="<u2")]

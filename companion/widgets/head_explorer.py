"""W4, the head explorer: where the heads of a trained model look."""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Self

import torch
import traitlets
from torch import Tensor

from companion.errors import require
from companion.models.bert import BERT
from companion.widgets.base import Widget, table
from companion.widgets.head_maps import Term, maps_data, score_terms, unpack_maps

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ASSET = "head_explorer.json"
MOST_HEADS = 8
VIEWS, SCALES = ("lines", "matrix", "grid"), ("linear", "root", "log")


@cache
def shipped_maps() -> dict[str, Any]:
    """The maps of the book's own model on the book's own sentences."""
    data: dict[str, Any] = json.loads(files("companion").joinpath("assets", ASSET).read_text(encoding="utf-8"))
    return data


class HeadExplorer(Widget):
    r"""The attention maps of a model: as lines between words, as a matrix, or all heads at once.

    Args:
        data: what :func:`companion.widgets.head_maps.maps_data` gave; by default that of the book's own model.
        sentence: number of the sentence.
        layer: number of the layer, from 0.
        chosen: numbers of the heads that are shown, at most eight.
        view: ``"lines"``, ``"matrix"`` (of the first chosen head) or ``"grid"``.
        threshold: weights below it draw no line, 0 to 0.5.
        scale: color of a weight a: ``"linear"`` a, ``"root"`` √a, ``"log"`` 1 + log₁₀(a) / 3.
        drop_special: leave ``[CLS]`` and ``[SEP]`` out and divide each row by what is left of it.

    Raises:
        ValueError: a number out of range, or an unknown view or scale.

    >>> explorer = HeadExplorer()
    >>> explorer.weights.shape[0]  # the chosen heads
    1
    """

    name = "head_explorer"

    data = traitlets.Dict().tag(sync=True, page=True)
    sentence = traitlets.Int(0).tag(sync=True, page=True)
    layer = traitlets.Int(0).tag(sync=True, page=True)
    chosen = traitlets.List(traitlets.Int()).tag(sync=True, page=True)
    view = traitlets.Enum(list(VIEWS), "lines").tag(sync=True, page=True)
    threshold = traitlets.Float(0.02).tag(sync=True, page=True)
    scale = traitlets.Enum(list(SCALES), "linear").tag(sync=True, page=True)
    drop_special = traitlets.Bool(False).tag(sync=True, page=True)
    source = traitlets.Unicode("").tag(sync=True, page=True)

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        *,
        sentence: int = 0,
        layer: int = 0,
        chosen: Sequence[int] = (0,),
        **traits: Any,
    ) -> None:
        super().__init__(
            data=shipped_maps() if data is None else data,
            sentence=sentence,
            layer=layer,
            chosen=[int(head) for head in chosen],
            **traits,
        )
        self._model: BERT | None = None
        self._ids: list[Tensor] = []
        self._check()

    @classmethod
    def of(cls, model: BERT, tokenizer: "Tokenizer", *texts: str, **traits: Any) -> Self:
        """The explorer for any model and any texts, in a kernel."""
        source = f"kernel: {type(model).__name__}, {next(model.parameters()).device}"
        explorer = cls(maps_data(model, tokenizer, texts), source=source, **traits)
        explorer._model = model
        explorer._ids = [torch.tensor([tokenizer.encode(text).ids]) for text in texts]
        return explorer

    def _check(self) -> None:
        data = self.data
        for name, n in (("sentence", len(data["sentences"])), ("layer", data["layers"])):
            require(0 <= getattr(self, name) < n, f"{name}={getattr(self, name)} must be from 0 to {n - 1}")
        heads = list(self.chosen)
        require(
            1 <= len(heads) <= MOST_HEADS and len(set(heads)) == len(heads),
            f"chosen={heads} must name from 1 to {MOST_HEADS} different heads",
        )
        require(
            all(0 <= head < data["heads"] for head in heads),
            f"chosen={heads} must be heads from 0 to {data['heads'] - 1}",
        )
        require(0.0 <= self.threshold <= 0.5, f"threshold={self.threshold} must be from 0 to 0.5")

    @property
    def tokens(self) -> list[str]:
        """What stands at the rows and columns."""
        tokens: list[str] = self.data["sentences"][self.sentence]["tokens"]
        return tokens[1:-1] if self.drop_special else tokens

    @property
    def weights(self) -> Tensor:
        """The maps of the chosen heads, (heads, T, T), as they are drawn."""
        self._check()
        maps = unpack_maps(self.data, self.sentence)[self.layer, list(self.chosen)]
        if not self.drop_special:
            return maps
        kept = maps[:, 1:-1, 1:-1]
        left = kept.sum(dim=-1, keepdim=True)
        return torch.where(left > 0, kept / left.clamp(min=1e-300), 0.0)

    def terms(self, query: int, key: int, *, head: int | None = None, n: int = 10) -> list[Term]:
        """The n largest summands of the score between two tokens of the sentence, counted with its special tokens.

        Raises:
            ValueError: the explorer was not made by :meth:`of`, so there is no model to ask.
        """
        require(self._model is not None, "only HeadExplorer.of(model, tokenizer, text) has a model to ask")
        assert self._model is not None
        head = self.chosen[0] if head is None else head
        ids = self._ids[self.sentence]
        return score_terms(self._model, ids, layer=self.layer, head=head, query=query, key=key, n=n)

    def _summary(self) -> dict[str, object]:
        return {"sentence": self.sentence, "layer": self.layer, "heads": list(self.chosen)}

    def _fallback(self) -> str:
        caption = f"Layer {self.layer + 1}, head {self.chosen[0] + 1}: a row for each word that looks"
        return table(caption, self.weights[0].tolist(), self.tokens, self.tokens)

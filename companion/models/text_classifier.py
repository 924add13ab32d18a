"""A classifier with all that it needs to read a text: tokenizer, names of the classes, what it does with long texts.

Letters in the shapes: B batch, N texts, C classes, K columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion.config import Precision
from companion.data.long_texts import Passages
from companion.data.passages import Keep
from companion.data.stream import Batch
from companion.data.tokenizer import BOOK, encode_texts, special_ids
from companion.errors import require
from companion.models.classifier import TransformerClassifier
from companion.models.prediction import Prediction, predictions
from companion.models.pretrained import load_pretrained, save_pretrained
from companion.models.pretrained_files import (
    CLASSIFIER,
    TOKENIZER,
    check_classifier,
    pretrained_settings,
    pretrained_tokenizer,
)
from companion.runtime import precision

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENS_PER_BATCH = 8192
"""Tokens that pass through the model at a time, padding included."""


def mean_by_text(
    function: Callable[[Batch], Tensor],
    batches: Iterable[Batch],
    n_texts: int,
    *,
    kind: Precision = "fp32",
    device: torch.device | str = "cpu",
) -> Tensor:
    """What a function makes of each text: (N, K), averaged over the passages that were read of it; on the CPU.

    Of a text in one passage it is the function's value there. Averaging logits over windows weighs each window by how
    sure it is; averaging probabilities would not.

    Args:
        function: from a batch to (B, K), such as logits or features.
        batches: their ``rows`` are numbers of texts, see :meth:`companion.data.long_texts.Passages.batches`.
        n_texts: N.
        kind: ``"bf16"`` lets matrix products run in bfloat16.
        device: where the function computes.
    """
    device = torch.device(device)
    total, count = torch.zeros(0), torch.zeros(n_texts)
    with torch.no_grad():
        for batch in batches:
            assert batch.rows is not None
            with precision(kind, device=device):
                values = function(batch.to(device)).float().cpu()
            if not len(total):
                total = values.new_zeros(n_texts, values.size(1))
            total.index_add_(0, batch.rows, values)
            count.index_add_(0, batch.rows, torch.ones(len(batch.rows)))
    require(bool((count > 0).all()), lambda: f"{int((count == 0).sum())} of {n_texts} texts are in no batch")
    return total / count[:, None]


@dataclass
class TextClassifier:
    """From texts to classes.

    Attributes:
        model: the network, in evaluation mode.
        tokenizer: the one that it was trained with.
        labels: the names of its classes.
        max_len: tokens that it reads at a time, the special ones included.
        keep: what is read of a longer text.
        temperature: logits are divided by it (Guo et al. 2017); see :mod:`companion.training.calibration`.
        tokenizer_name: ``"book"``, or what else it was loaded from.
        about: how it came about.

    Raises:
        ValueError: a setting that :func:`companion.models.pretrained_files.check_classifier` refuses, a tokenizer of
            another size than the model's vocabulary, or more or fewer names than classes.

    >>> from companion import TransformerConfig, load_tokenizer
    >>> network = TransformerClassifier(TransformerConfig(vocab_size=8192, d_model=8), 2)
    >>> classifier = TextClassifier(network.eval(), load_tokenizer(), ("neg", "pos"))
    >>> classifier.probabilities(["A good film.", "Not bad"]).shape
    torch.Size([2, 2])
    """

    model: TransformerClassifier
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    max_len: int = 0
    keep: Keep = "both"
    temperature: float = 1.0
    tokenizer_name: str = BOOK
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.max_len = self.max_len or self.model.config.max_len
        how = {**vars(self), "pooling": self.model.pooling, "tokenizer": self._stored_tokenizer}
        check_classifier(how, longest=self.model.config.max_len)
        self.labels = tuple(self.labels)
        size, n = self.tokenizer.get_vocab_size(), self.model.n_classes
        require(
            size == self.model.config.vocab_size,
            f"the tokenizer has {size} pieces, but the model has vocab_size={self.model.config.vocab_size}; "
            "take the tokenizer that it was trained with",
        )
        require(len(self.labels) == n, f"{len(self.labels)} names for {n} classes: {list(self.labels)}")

    def cut(self, texts: Sequence[str]) -> Passages:
        """What it reads of texts, as :meth:`logits` takes it, too.

        Raises:
            ValueError: there is no text, or one without a token.
        """
        return Passages(texts, self.tokenizer, max_len=self.max_len, keep=self.keep)

    def logits(
        self, texts: Sequence[str] | Passages, *, kind: Precision = "fp32", tokens_per_batch: int = TOKENS_PER_BATCH
    ) -> Tensor:
        """Logits (N, C), averaged over windows where there are several, not yet divided by the temperature.

        Args:
            texts: N texts, or what :meth:`cut` made of them.
            kind: ``"bf16"`` lets matrix products run in bfloat16.
            tokens_per_batch: tokens that pass through the model at a time, padding included.

        Raises:
            ValueError: there is no text, or one without a token.
        """
        cut = texts if isinstance(texts, Passages) else self.cut(texts)
        device = next(self.model.parameters()).device
        was_training = self.model.training
        self.model.eval()
        try:
            return mean_by_text(
                lambda batch: self.model(batch.ids, padding=batch.padding),
                cut.batches(tokens_per_batch),
                len(cut.tokens),
                kind=kind,
                device=device,
            )
        finally:
            self.model.train(was_training)

    def probabilities(self, texts: Sequence[str]) -> Tensor:
        """How probable each class is, (N, C)."""
        return (self.logits(texts) / self.temperature).softmax(dim=-1)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """The most probable class of each text.

        Raises:
            ValueError: there is no text, or one without a token; :meth:`readable` tells them beforehand.
        """
        return predictions(
            self.probabilities(texts).tolist(),
            encode_texts(texts, self.tokenizer),
            self.labels,
            unk=special_ids(self.tokenizer).unk,
            max_len=self.max_len,
            keep=self.keep,
        )

    def readable(self, texts: Sequence[str]) -> list[bool]:
        """Which of the texts have a token at all."""
        return [bool(ids) for ids in encode_texts(texts, self.tokenizer)]

    def settings(self) -> dict[str, Any]:
        """What :func:`load_classifier` needs to know besides the model's shape."""
        return {
            "labels": list(self.labels),
            "pooling": self.model.pooling,
            "max_len": self.max_len,
            "keep": self.keep,
            "temperature": self.temperature,
            "tokenizer": self._stored_tokenizer,
        }

    @property
    def _stored_tokenizer(self) -> str:
        return BOOK if self.tokenizer_name == BOOK else TOKENIZER

    def save(self, folder: str | Path, *, card: str) -> Path:
        """Write it for :func:`load_classifier`, weights in float16; a tokenizer that is not the book's goes along."""
        own = None if self.tokenizer_name == BOOK else self.tokenizer
        return save_pretrained(
            folder, self.model, card=card, about=self.about, classifier=self.settings(), tokenizer=own
        )


def load_classifier(name_or_folder: str | Path) -> TextClassifier:
    """A classifier that ships with the package, or one in a folder that ``companion export`` wrote.

    Raises:
        ValueError: there is no such model, it is no classifier, or its files are damaged or do not fit together.
    """
    settings = pretrained_settings(name_or_folder)
    require(
        settings["kind"] == CLASSIFIER,
        f"{name_or_folder} is a {settings['kind']}, which tells no classes; fine-tune it: companion finetune",
    )
    model = load_pretrained(name_or_folder)
    assert isinstance(model, TransformerClassifier)
    how: Mapping[str, Any] = settings[CLASSIFIER]
    return TextClassifier(
        model,
        pretrained_tokenizer(name_or_folder, how["tokenizer"]),
        how["labels"],
        max_len=how["max_len"],
        keep=how["keep"],
        temperature=how["temperature"],
        tokenizer_name=how["tokenizer"],
        about=settings["about"],
    )

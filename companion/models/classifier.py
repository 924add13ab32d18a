r"""A classifier on top of a bidirectional Transformer.

Letters in the shapes: B batch, T tokens, D d_model, C classes.
"""

from typing import Any

from torch import Tensor, nn

from companion.config import TransformerConfig, check_at_least, check_choice
from companion.errors import require
from companion.models.bert import BERT
from companion.models.pretrained_files import Pooling as Pooling
from companion.nn.dropout import Dropout
from companion.nn.transformer import Transformer, init_weights

MAY_CHANGE = ("max_len", "dropout", "attention_dropout", "backend")
"""The fields of the configuration in which a classifier may differ from the BERT that it starts from."""


def masked_mean(h: Tensor, padding: Tensor | None) -> Tensor:
    """Mean of ``h`` (B, T, D) over the real tokens, ``padding`` (B, T) bool: (B, D).

    >>> import torch
    >>> h = torch.tensor([[[1.0], [3.0], [100.0]]])
    >>> masked_mean(h, torch.tensor([[True, True, False]])).tolist()
    [[2.0]]
    """
    if padding is None:
        return h.mean(dim=1)
    real = padding[:, :, None].to(h.dtype)
    mean = (h * real).sum(dim=1) / real.sum(dim=1)  # (B, D)
    return mean


class TransformerClassifier(nn.Module):
    """One of C classes for a whole text.

    Args:
        config: the shape.
        n_classes: C.
        pooling: what the text is summed up by: ``"mean"`` over its real tokens, or its ``"first"`` token, as BERT does.

    >>> import torch
    >>> model = TransformerClassifier(TransformerConfig(vocab_size=9, d_model=8), n_classes=2)
    >>> model(torch.tensor([[1, 2, 3], [4, 0, 0]]), padding=torch.tensor([[1, 1, 1], [1, 0, 0]]).bool()).shape
    torch.Size([2, 2])
    """

    def __init__(self, config: TransformerConfig, n_classes: int, *, pooling: Pooling = "mean") -> None:
        super().__init__()
        check_at_least("n_classes", n_classes, 2)
        check_choice("pooling", pooling, Pooling)
        self.config, self.n_classes = config, n_classes
        self.pooling: Pooling = pooling
        self.transformer = Transformer(config, causal=False)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(config.d_model, n_classes)
        init_weights(self.head, std=config.init_std)

    @classmethod
    def from_bert(
        cls, bert: BERT, n_classes: int, *, pooling: Pooling = "mean", **changes: Any
    ) -> "TransformerClassifier":
        """A classifier on a copy of a pretrained BERT's trunk; its own head is new, and BERT's two are left behind.

        Args:
            bert: what was pretrained; not changed.
            n_classes: C.
            pooling: as above.
            changes: fields of the configuration that shall differ, of those in :data:`MAY_CHANGE`.

        Raises:
            ValueError: another field, or weights of the trunk that do not fit the new shape (a learned table of
                positions has its length); all of them are named.

        >>> import torch
        >>> bert = BERT(TransformerConfig(vocab_size=9, d_model=8))
        >>> model = TransformerClassifier.from_bert(bert, 2, dropout=0.2)
        >>> model.config.dropout, torch.equal(model.transformer.norm.weight, bert.transformer.norm.weight)
        (0.2, True)
        """
        other = sorted(set(changes) - set(MAY_CHANGE))
        require(not other, f"{other} follow from the pretrained model; only {list(MAY_CHANGE)} may be changed")
        config = TransformerConfig.from_dict({**bert.config.to_dict(), **changes})
        model = cls(config, n_classes, pooling=pooling)
        _copy_strictly(bert.transformer, model.transformer)
        return model

    def encode(self, ids: Tensor, *, segments: Tensor | None = None, padding: Tensor | None = None) -> Tensor:
        """Hidden states (B, T, D) of token ids (B, T); arguments as in :class:`companion.Transformer`."""
        h: Tensor = self.transformer(ids, segments=segments, padding=padding)  # (B, T, D)
        return h

    def features(self, ids: Tensor, *, segments: Tensor | None = None, padding: Tensor | None = None) -> Tensor:
        """What each text is summed up by, (B, D): all that the head reads."""
        h = self.encode(ids, segments=segments, padding=padding)  # (B, T, D)
        text = masked_mean(h, padding) if self.pooling == "mean" else h[:, 0]  # (B, D)
        return text

    def forward(self, ids: Tensor, *, segments: Tensor | None = None, padding: Tensor | None = None) -> Tensor:
        """Logits (B, C) of token ids (B, T)."""
        text = self.features(ids, segments=segments, padding=padding)  # (B, D)
        logits: Tensor = self.head(self.dropout(text))  # (B, C)
        return logits


def _copy_strictly(source: nn.Module, target: nn.Module) -> None:
    """Copy all tensors by name, or say which have no partner."""
    theirs, own = source.state_dict(), target.state_dict()
    missing, left_over = sorted(set(own) - set(theirs)), sorted(set(theirs) - set(own))
    wrong = [
        f"{name} {tuple(theirs[name].shape)} -> {tuple(own[name].shape)}"
        for name in own
        if name in theirs and theirs[name].shape != own[name].shape
    ]
    require(
        not (missing or left_over or wrong),
        f"the pretrained trunk does not fit: missing {missing}, left over {left_over}, wrong shape {wrong}",
    )
    target.load_state_dict(theirs)

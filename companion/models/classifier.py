r"""A classifier on top of a bidirectional Transformer.

Letters in the shapes: B batch, T tokens, D d_model, C classes.
"""

from typing import Literal

from torch import Tensor, nn

from companion.config import TransformerConfig, check_at_least, check_choice
from companion.nn.dropout import Dropout
from companion.nn.transformer import Transformer, init_weights

Pooling = Literal["mean", "first"]


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

    def encode(self, ids: Tensor, *, segments: Tensor | None = None, padding: Tensor | None = None) -> Tensor:
        """Hidden states (B, T, D) of token ids (B, T); arguments as in :class:`companion.Transformer`."""
        h: Tensor = self.transformer(ids, segments=segments, padding=padding)  # (B, T, D)
        return h

    def forward(self, ids: Tensor, *, segments: Tensor | None = None, padding: Tensor | None = None) -> Tensor:
        """Logits (B, C) of token ids (B, T)."""
        h = self.encode(ids, segments=segments, padding=padding)  # (B, T, D)
        text = masked_mean(h, padding) if self.pooling == "mean" else h[:, 0]  # (B, D)
        logits: Tensor = self.head(self.dropout(text))  # (B, C)
        return logits

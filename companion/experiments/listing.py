"""The source's listing (section 5.1), completed by the fewest lines that make it run; and the same, mended.

:class:`Transformer` and :class:`PositionalEncoding` are the source's, line by line. The source stops in the middle of a
line; what had to be added to run it is marked. Its errors are kept: C2 and C3 of the errata, and C4, which the usual
ending brings in. :class:`MendedTransformer` has none of them, and is otherwise the same: its feed-forward layers, too,
are 2,048 wide whatever the model's width is (H11). Both start from random weights: what the source calls fine-tuning
trains from scratch.

Letters in the shapes: B batch, T tokens, D d_model, C classes.
"""

import math  # added: the source computes with `math.log` and never imports it (C1)
import warnings

import torch
import torch.nn as nn
from torch import Tensor

ADDED = (
    "import math",
    "    )",
    "    self.register_buffer('pe', pe.unsqueeze(1))",
    "def forward(self, x):",
    "    return self.dropout(x + self.pe[:x.size(0)])",
)
"""The lines without which the source's listing does not run; the last three are the usual ending (C4)."""


class Transformer(nn.Module):
    """The source's classifier, as printed: (B, T) ids to (B, C) logits.

    Its encoder takes the first axis for the positions, so a review's tokens look at those of the *other reviews* in the
    batch, at the same place (C2); and padding is attended to and averaged in (C3).
    """

    def __init__(
        self, vocab_size: int, d_model: int, nhead: int, num_layers: int, num_classes: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.pos_encoder = PositionalEncoding(d_model, dropout)
        encoder_layer = nn.TransformerEncoderLayer(d_model, nhead, dropout=dropout)
        with warnings.catch_warnings():  # torch says that its fast path needs batch_first=True
            warnings.simplefilter("ignore", UserWarning)
            self.transformer_encoder = nn.TransformerEncoder(encoder_layer, num_layers)
        self.fc = nn.Linear(d_model, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self.embedding(x)
        x = self.pos_encoder(x)
        x = self.transformer_encoder(x)
        x = x.mean(dim=1)
        x = self.fc(x)
        return x


class PositionalEncoding(nn.Module):
    """The source's table of sines and cosines; it breaks off in the line of the cosine (C7)."""

    pe: Tensor

    def __init__(self, d_model: int, dropout: float = 0.1, max_len: int = 5000) -> None:
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        pe = torch.zeros(max_len, d_model)
        position = torch.arange(0, max_len, dtype=torch.float).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2).float() * (-math.log(10000.0) / d_model))
        pe[:, 0::2] = torch.sin(position * div_term)
        pe[:, 1::2] = torch.cos(position * div_term)  # added: the last bracket
        self.register_buffer("pe", pe.unsqueeze(1))  # added

    def forward(self, x: Tensor) -> Tensor:  # added
        """The embeddings with positions, counted along the first axis (C4)."""
        y: Tensor = self.dropout(x + self.pe[: x.size(0)])  # added
        return y


class MendedTransformer(nn.Module):
    """The same classifier without the errors: ids (B, T) and which of them are real (B, T) to logits (B, C).

    Against the listing: ``batch_first=True`` (C2), the padding masked in attention and left out of the mean (C3),
    positions along the axis of the tokens (C4), an odd width refused by PyTorch's heads or cut right (C5), small
    embeddings, scaled by √d_model (C6).

    >>> model = MendedTransformer(vocab_size=9, d_model=8, nhead=2, num_layers=1, num_classes=2).eval()
    >>> ids, real = torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([[True, True, True], [True, False, False]])
    >>> both, alone = model(ids, real), model(ids[1:, :1], real[1:, :1])
    >>> torch.allclose(both[1:], alone, atol=1e-6)
    True
    """

    def __init__(
        self, vocab_size: int, d_model: int, nhead: int, num_layers: int, num_classes: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, d_model)
        nn.init.normal_(self.embedding.weight, std=d_model**-0.5)  # scaled up in `forward`
        self.pos_encoder = MendedPositionalEncoding(d_model, dropout)
        encoder_layer = nn.TransformerEncoderLayer(d_model, nhead, dropout=dropout, batch_first=True)
        self.transformer_encoder = nn.TransformerEncoder(encoder_layer, num_layers, enable_nested_tensor=False)
        self.fc = nn.Linear(d_model, num_classes)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """Logits."""
        x = self.embedding(x) * math.sqrt(self.embedding.embedding_dim)  # (B, T, D)
        x = self.pos_encoder(x)
        x = self.transformer_encoder(x, src_key_padding_mask=~real)
        x = (x * real[:, :, None]).sum(dim=1) / real.sum(dim=1)[:, None]  # (B, D)
        x = self.fc(x)
        return x


class MendedPositionalEncoding(nn.Module):
    """The table of sines and cosines, added along the axis of the tokens, for odd widths too."""

    pe: Tensor

    def __init__(self, d_model: int, dropout: float = 0.1, max_len: int = 5000) -> None:
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        pe = torch.zeros(max_len, d_model)
        position = torch.arange(0, max_len, dtype=torch.float).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2).float() * (-math.log(10000.0) / d_model))
        pe[:, 0::2] = torch.sin(position * div_term)
        pe[:, 1::2] = torch.cos(position * div_term[: d_model // 2])
        self.register_buffer("pe", pe)

    def forward(self, x: Tensor) -> Tensor:
        """The embeddings (B, T, D) with their positions."""
        y: Tensor = self.dropout(x + self.pe[: x.size(1)])
        return y

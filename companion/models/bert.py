r"""BERT (Devlin et al. 2019): a Transformer that looks both ways, with a head for each of its two training tasks.

Letters in the shapes: B batch, T tokens, N rows, D d_model, V vocabulary.
"""

from typing import NamedTuple

from torch import Tensor, nn

from companion.config import TransformerConfig
from companion.nn.transformer import Transformer, activate, init_weights, layer_norm


class BERTOutput(NamedTuple):
    """What :class:`BERT` says about a batch.

    Attributes:
        mlm_logits: (B, T, V), which token stands at each position.
        nsp_logits: (B, 2), whether the second segment follows the first (0) or not (1); None without that head.
    """

    mlm_logits: Tensor
    nsp_logits: Tensor | None


class MLMHead(nn.Module):
    r"""Which token stands here: ``decoder(LN(f(W h + b)))``, with f the model's activation.

    The decoder shares the token embedding's weights if ``config.tied_head``, and has a bias of its own.

    >>> import torch
    >>> MLMHead(TransformerConfig(vocab_size=9, d_model=8))(torch.zeros(5, 8)).shape
    torch.Size([5, 9])
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.transform = nn.Linear(config.d_model, config.d_model, bias=config.bias)
        self.norm = layer_norm(config)
        self.decoder = nn.Linear(config.d_model, config.vocab_size, bias=config.bias)

    def forward(self, h: Tensor) -> Tensor:
        """Hidden states (..., D), any rows of them, to logits (..., V)."""
        h = self.norm(activate(self.transform(h), self.activation))
        logits: Tensor = self.decoder(h)
        return logits


class NSPHead(nn.Module):
    r"""Does the second segment follow the first: ``W tanh(W_p h_0 + b_p) + b``, read from the first token alone.

    >>> import torch
    >>> NSPHead(TransformerConfig(vocab_size=9, d_model=8))(torch.zeros(5, 3, 8)).shape
    torch.Size([5, 2])
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.pooler = nn.Linear(config.d_model, config.d_model, bias=config.bias)
        self.output = nn.Linear(config.d_model, 2, bias=config.bias)

    def forward(self, h: Tensor) -> Tensor:
        """Hidden states (B, T, D) to logits (B, 2)."""
        pooled = self.pooler(h[:, 0]).tanh()  # (B, D)
        logits: Tensor = self.output(pooled)  # (B, 2)
        return logits


class BERT(nn.Module):
    """Masked language modeling and next-sentence prediction on one bidirectional stack.

    Args:
        config: the shape; ``TransformerConfig.preset("bert-base")`` is the published one, ``"bert-book"`` the book's.

    >>> import torch
    >>> model = BERT(TransformerConfig(vocab_size=9, d_model=8, n_segments=2))
    >>> output = model(torch.tensor([[1, 2, 3]]), segments=torch.tensor([[0, 0, 1]]))
    >>> output.mlm_logits.shape, output.nsp_logits.shape
    (torch.Size([1, 3, 9]), torch.Size([1, 2]))
    >>> h = model.encode(torch.tensor([[1, 2, 3]]))
    >>> model.mlm_head(h[0, :1]).shape  # only where it is needed
    torch.Size([1, 9])
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config, causal=False)
        self.mlm_head = MLMHead(config)
        self.nsp_head = NSPHead(config) if config.next_sentence else None
        for head in (self.mlm_head, self.nsp_head):
            if head is not None:
                init_weights(head, std=config.init_std)
        self.tie_weights()

    def tie_weights(self) -> None:
        """Let the decoder share the token embedding's weights, if the configuration says so."""
        if self.config.tied_head:
            self.mlm_head.decoder.weight = self.transformer.embedding.token.weight

    def encode(self, ids: Tensor, *, segments: Tensor | None = None, padding: Tensor | None = None) -> Tensor:
        """Hidden states (B, T, D) of token ids (B, T); arguments as in :class:`companion.Transformer`."""
        h: Tensor = self.transformer(ids, segments=segments, padding=padding)  # (B, T, D)
        return h

    def forward(self, ids: Tensor, *, segments: Tensor | None = None, padding: Tensor | None = None) -> BERTOutput:
        """Both heads on token ids (B, T).

        In training, most positions need no MLM logits: call :meth:`encode`, and ``mlm_head`` on the chosen rows.

        Args:
            ids: (B, T), at most ``config.max_len`` tokens.
            segments: (B, T), 0 in the first sentence and 1 in the second; None = all 0.
            padding: (B, T) bool, True = real token.
        """
        h = self.encode(ids, segments=segments, padding=padding)  # (B, T, D)
        return BERTOutput(self.mlm_head(h), None if self.nsp_head is None else self.nsp_head(h))

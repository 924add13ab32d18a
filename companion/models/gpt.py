r"""GPT (Radford et al. 2018, 2019): a causal Transformer that predicts the next token.

Letters in the shapes: B batch, T tokens, D d_model, V vocabulary.
"""

from torch import Tensor, nn

from companion.config import TransformerConfig
from companion.nn.transformer import Transformer, init_weights


class GPT(nn.Module):
    """A causal language model: at each position, the logits of the token after it.

    Args:
        config: the shape; ``TransformerConfig.preset("gpt2")`` is the published one, ``"gpt-book"`` the book's.

    >>> import torch
    >>> model = GPT(TransformerConfig(vocab_size=9, d_model=8)).eval()
    >>> logits = model(torch.tensor([[1, 2, 3]]))
    >>> logits.shape
    torch.Size([1, 3, 9])
    >>> torch.allclose(logits[:, :2], model(torch.tensor([[1, 2]])), atol=1e-6)  # the future changes nothing
    True
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config, causal=True)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        init_weights(self.lm_head, std=config.init_std)
        self.tie_weights()

    def tie_weights(self) -> None:
        """Let the head share the token embedding's weights, if the configuration says so."""
        if self.config.tied_head:
            self.lm_head.weight = self.transformer.embedding.token.weight

    def encode(self, ids: Tensor, *, padding: Tensor | None = None) -> Tensor:
        """Hidden states (B, T, D) of token ids (B, T); arguments as in :class:`companion.Transformer`."""
        h: Tensor = self.transformer(ids, padding=padding)  # (B, T, D)
        return h

    def forward(self, ids: Tensor, *, padding: Tensor | None = None) -> Tensor:
        """Logits of the next token, for token ids (B, T).

        Args:
            ids: (B, T), at most ``config.max_len`` tokens.
            padding: (B, T) bool, True = real token.

        Returns:
            (B, T, V).
        """
        logits: Tensor = self.lm_head(self.encode(ids, padding=padding))  # (B, T, V)
        return logits

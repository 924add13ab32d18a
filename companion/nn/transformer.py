r"""The Transformer: feed-forward net, block, stack. An encoder and a decoder-only model differ by the causal mask.

Letters in the shapes: B batch, T tokens, D d_model, F d_ff.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from companion.config import Activation, TransformerConfig, check_choice
from companion.nn.attention import MultiHeadAttention, Position
from companion.nn.checks import check_ids, check_length, check_padding, check_segments, check_tokens
from companion.nn.dropout import Dropout
from companion.nn.positional import build_position


class FeedForward(nn.Module):
    r"""Each token by itself: ``W_2 f(W_1 x + b_1) + b_2`` (Vaswani et al. 2017, equation 2; there f is ReLU).

    Args:
        d_model: width of a token's vector, D.
        d_ff: width inside, F.
        activation: f: ``"gelu"`` (Hendrycks and Gimpel 2016), ``"gelu_tanh"`` (its approximation), or ``"relu"``.
        bias: whether the two linear layers have one.

    >>> FeedForward(4, 16)(torch.zeros(2, 3, 4)).shape
    torch.Size([2, 3, 4])
    """

    def __init__(self, d_model: int, d_ff: int, *, activation: Activation = "gelu", bias: bool = True) -> None:
        super().__init__()
        check_choice("activation", activation, Activation)
        self.activation: Activation = activation
        self.up_proj = nn.Linear(d_model, d_ff, bias=bias)
        self.down_proj = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., D) to (..., D)."""
        hidden = activate(self.up_proj(x), self.activation)  # (B, T, F)
        output: Tensor = self.down_proj(hidden)  # (B, T, D)
        return output


def activate(x: Tensor, activation: Activation) -> Tensor:
    """The activation function of this name.

    >>> activate(torch.tensor([-1.0, 2.0]), "relu").tolist()
    [0.0, 2.0]
    """
    if activation == "relu":
        return F.relu(x)
    return F.gelu(x, approximate="tanh" if activation == "gelu_tanh" else "none")


class TransformerBlock(nn.Module):
    r"""Attention, then the feed-forward net, each with a residual connection and LayerNorm.

    Post-norm (Vaswani et al. 2017, section 3.1): ``x = LN(x + attention(x))``, ``x = LN(x + ffn(x))``.
    Pre-norm (Xiong et al. 2020): ``x = x + attention(LN(x))``, ``x = x + ffn(LN(x))``; the sum is never normalized, so
    gradients reach the first block unchanged, and the stack ends in one more LayerNorm.

    >>> block = TransformerBlock(TransformerConfig(vocab_size=9, d_model=8))
    >>> block(torch.zeros(2, 3, 8)).shape
    torch.Size([2, 3, 8])
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        c = config
        self.pre_norm = c.norm == "pre"
        self.attention = MultiHeadAttention(
            c.d_model, c.n_heads, dropout=c.weight_dropout, backend=c.backend, bias=c.bias
        )
        self.attention_norm = layer_norm(c)
        self.ffn = FeedForward(c.d_model, c.d_ff, activation=c.activation, bias=c.bias)
        self.ffn_norm = layer_norm(c)
        self.dropout = Dropout(c.dropout)

    def forward(
        self, x: Tensor, *, mask: Tensor | None = None, causal: bool = False, position: Position | None = None
    ) -> Tensor:
        """``x`` (B, T, D) to (B, T, D); the rest as in :class:`companion.MultiHeadAttention`."""

        check_tokens("x", x, self.attention.d_model)
        if self.pre_norm:
            h = self.attention_norm(x)  # (B, T, D)
            x = x + self.dropout(self.attention(h, mask=mask, causal=causal, position=position))
            x = x + self.dropout(self.ffn(self.ffn_norm(x)))  # (B, T, D)
        else:
            h = self.attention(x, mask=mask, causal=causal, position=position)  # (B, T, D)
            x = self.attention_norm(x + self.dropout(h))
            x = self.ffn_norm(x + self.dropout(self.ffn(x)))  # (B, T, D)
        return x


class Embedding(nn.Module):
    """What a token, its segment and its position say, summed (Devlin et al. 2019, figure 2).

    >>> embedding = Embedding(TransformerConfig(vocab_size=9, d_model=8, n_segments=2))
    >>> embedding(torch.tensor([[1, 2, 3]]), segments=torch.tensor([[0, 0, 1]])).shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        c = config
        self.scale = c.d_model**0.5 if c.scales_embedding else 1.0
        self.token = nn.Embedding(c.vocab_size, c.d_model)
        self.segment = nn.Embedding(c.n_segments, c.d_model) if c.n_segments else None
        self.position = build_position(c)
        self.norm = layer_norm(c) if c.embed_norm else None
        self.dropout = Dropout(c.dropout)

    def forward(self, ids: Tensor, *, segments: Tensor | None = None) -> Tensor:
        """``ids`` (B, T) and ``segments`` (B, T), by default all 0, to (B, T, D).

        The values of ``ids`` are checked by :class:`Transformer`.
        """
        check_segments(segments, ids, 0 if self.segment is None else self.segment.num_embeddings)
        x: Tensor = self.token(ids)  # (B, T, D)
        if self.scale != 1.0:
            x = x * self.scale
        if self.segment is not None:
            x = x + (self.segment.weight[0] if segments is None else self.segment(segments))
        x = self.position.add_to(x)  # (B, T, D)
        if self.norm is not None:
            x = self.norm(x)
        x = self.dropout(x)  # (B, T, D)
        return x


class Transformer(nn.Module):
    r"""Embeddings, then ``config.n_layers`` blocks: the whole stack without a head.

    Args:
        config: the shape.
        causal: True for a stack in which no token sees a later one (GPT), False for one that looks both ways (BERT).

    >>> model = Transformer(TransformerConfig(vocab_size=9, d_model=8), causal=True)
    >>> model(torch.tensor([[1, 2, 3]])).shape
    torch.Size([1, 3, 8])
    >>> model(torch.tensor([[1, 2, 9]]))
    Traceback (most recent call last):
    ...
    ValueError: token ids must be in 0...8 (vocab_size=9); got 9; is this the tokenizer that the model was made for?
    """

    def __init__(self, config: TransformerConfig, *, causal: bool) -> None:
        super().__init__()
        self.config, self.causal = config, causal
        self.embedding = Embedding(config)
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.n_layers))
        self.norm = layer_norm(config) if config.norm == "pre" else None
        init_weights(self, std=config.init_std)

    def forward(self, ids: Tensor, *, segments: Tensor | None = None, padding: Tensor | None = None) -> Tensor:
        """Token ids to vectors.

        Args:
            ids: (B, T), at most ``config.max_len`` tokens.
            segments: (B, T), which part a token belongs to, below ``config.n_segments``.
            padding: (B, T) bool, True = real token. Leave it out when nothing is padded: that is faster.

        Returns:
            (B, T, D). What stands at a padded position means nothing.

        Raises:
            ValueError: too many tokens, an id or a segment out of range, a row of padding only, or wrong shapes. Values
                are not looked at under ``torch.compile``.
        """
        check_ids(ids, self.config.vocab_size)
        check_length(ids.size(1), self.config.max_len)
        check_padding(padding, ids)
        mask = None if padding is None else padding[:, None, None, :]
        x: Tensor = self.embedding(ids, segments=segments)  # (B, T, D)
        for block in self.blocks:
            x = block(x, mask=mask, causal=self.causal, position=self.embedding.position)  # (B, T, D)
        if self.norm is not None:
            x = self.norm(x)  # (B, T, D)
        return x


def layer_norm(config: TransformerConfig) -> nn.LayerNorm:
    """LayerNorm (Ba et al. 2016) over the width D, as the configuration wants it."""
    return nn.LayerNorm(config.d_model, eps=config.norm_eps, bias=config.bias)


def init_weights(module: nn.Module, *, std: float) -> None:
    """Draw all weights from N(0, std²), with biases 0 and LayerNorm the identity, as BERT and GPT-2 do.

    In a pre-norm stack of L blocks, what is added to the residual stream starts smaller by √(2L): 2L numbers are summed
    there (Radford et al. 2019, section 2.3).
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=std)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
    blocks = [part for part in module.modules() if isinstance(part, TransformerBlock) and part.pre_norm]
    with torch.no_grad():
        for block in blocks:
            for output in (block.attention.out_proj, block.ffn.down_proj):
                output.weight /= (2 * len(blocks)) ** 0.5

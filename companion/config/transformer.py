"""The shape of a Transformer."""

from dataclasses import dataclass
from typing import Any, Literal, Self

from companion.config.base import Config, check_at_least, check_choice, check_dropout, check_heads
from companion.errors import require

Backend = Literal["auto", "fused", "formula"]
Norm = Literal["pre", "post"]
PositionScheme = Literal["sinusoidal", "learned", "rope", "alibi", "none"]
Pairing = Literal["interleaved", "half"]
Activation = Literal["gelu", "gelu_tanh", "relu"]


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(Config):
    """The shape of a Transformer.

    Attributes:
        vocab_size: number of token ids, V.
        max_len: longest sequence, in tokens.
        d_model: width of a token's vector, D.
        n_layers: number of blocks.
        n_heads: attention heads a block, H; divides ``d_model``.
        d_ff: width inside the feed-forward net.
        dropout: probability with which a value is dropped in training, in [0, 1): on the embeddings, on the attention
            weights and on what each sub-layer adds.
        attention_dropout: the same for the attention weights alone; None = as ``dropout``.
        norm: LayerNorm before (``"pre"``) or after (``"post"``) each sub-layer.
        norm_eps: what LayerNorm adds to the variance.
        activation: inside the feed-forward net; ``"gelu_tanh"`` is the approximation that GPT-2 was trained with.
        bias: whether linear layers and LayerNorm have a bias.
        backend: how attention is computed; see :func:`companion.attention`.
        position: how positions enter.
        position_base: the longest wavelength of sinusoidal and rotary positions is about 2π times this.
        rope_pairing: which coordinates rotary positions turn together: neighbors (``"interleaved"``, the paper), or one
            of the first half with one of the second (``"half"``, most published weights).
        embed_scale: whether token vectors are multiplied by √d_model before positions are added, as Vaswani et al.
            (2017, section 3.4) do; None = with sinusoidal positions only, which would drown small token vectors.
        embed_norm: LayerNorm over the embeddings, as in BERT.
        n_segments: number of token types that ``segments=`` may name (BERT has 2); 0 = there are none.
        tied_head: whether the output layer over the vocabulary shares the token embedding's weights.
        next_sentence: whether :class:`companion.BERT` has the next-sentence head.
        init_std: standard deviation of the initial weights.

    >>> TransformerConfig(vocab_size=100, d_model=64, n_heads=4).d_head
    16
    >>> TransformerConfig.preset("gpt2").n_layers
    12
    >>> TransformerConfig.from_dict({"vocab_size": 100, "n_head": 2})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: TransformerConfig has no field ['n_head']; it has ['vocab_size', 'max_len', ...]
    """

    vocab_size: int
    max_len: int = 128
    d_model: int = 128
    n_layers: int = 2
    n_heads: int = 2
    d_ff: int = 512
    dropout: float = 0.1
    attention_dropout: float | None = None
    norm: Norm = "pre"
    norm_eps: float = 1e-5
    activation: Activation = "gelu"
    bias: bool = True
    backend: Backend = "auto"
    position: PositionScheme = "sinusoidal"
    position_base: float = 10_000.0
    rope_pairing: Pairing = "interleaved"
    embed_scale: bool | None = None
    embed_norm: bool = False
    n_segments: int = 0
    tied_head: bool = True
    next_sentence: bool = True
    init_std: float = 0.02

    def __post_init__(self) -> None:
        for name in ("vocab_size", "max_len", "n_layers", "d_ff"):
            check_at_least(name, getattr(self, name), 1)
        check_at_least("n_segments", self.n_segments, 0)
        check_heads(self.d_model, self.n_heads)
        check_dropout("dropout", self.dropout)
        check_dropout("attention_dropout", self.weight_dropout)
        for name in ("norm_eps", "init_std"):
            require(getattr(self, name) > 0.0, f"{name}={getattr(self, name)} must be positive")
        require(self.position_base > 1.0, f"position_base={self.position_base} must be greater than 1")
        for name, choices in _CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        require(
            self.position != "rope" or self.d_head % 2 == 0,
            f"rotary positions turn pairs of coordinates, but d_head=d_model/n_heads={self.d_head} is odd; "
            "change n_heads or d_model",
        )
        require(
            self.position != "sinusoidal" or self.d_model % 2 == 0,
            f"sinusoidal positions fill pairs of coordinates, but d_model={self.d_model} is odd; "
            f"use d_model={self.d_model + 1} or another position",
        )

    @property
    def d_head(self) -> int:
        """Width of one head, d_model / n_heads."""
        return self.d_model // self.n_heads

    @property
    def weight_dropout(self) -> float:
        """Dropout of the attention weights."""
        return self.dropout if self.attention_dropout is None else self.attention_dropout

    @property
    def scales_embedding(self) -> bool:
        """Whether token vectors are multiplied by √d_model."""
        return self.position == "sinusoidal" if self.embed_scale is None else self.embed_scale

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """A published shape, or the book's own, by name; ``changes`` replace single fields.

        ``bert-base`` (Devlin et al. 2019), ``distilbert`` (Sanh et al. 2019), ``gpt2`` (Radford et al. 2019, the
        smallest), ``bert-book`` and ``gpt-book`` (small enough to train on a laptop).

        >>> TransformerConfig.preset("bert-book", max_len=64).max_len
        64
        >>> TransformerConfig.preset("bert-tiny")
        Traceback (most recent call last):
        ...
        ValueError: no preset 'bert-tiny'; there are ['bert-base', 'distilbert', 'gpt2', 'bert-book', 'gpt-book']
        """
        require(name in _PRESETS, f"no preset {name!r}; there are {list(_PRESETS)}")
        return cls.from_dict({**_PRESETS[name], **changes})


_CHOICES = {
    "norm": Norm,
    "activation": Activation,
    "backend": Backend,
    "position": PositionScheme,
    "rope_pairing": Pairing,
}

_BERT = {"norm": "post", "norm_eps": 1e-12, "position": "learned", "embed_norm": True}
_BASE = {"d_model": 768, "n_heads": 12, "d_ff": 3072}
_BOOK = {"vocab_size": 8192, "max_len": 256, "d_model": 128, "n_layers": 4, "n_heads": 4, "d_ff": 512}
_PRESETS: dict[str, dict[str, Any]] = {
    "bert-base": {**_BERT, **_BASE, "vocab_size": 30_522, "max_len": 512, "n_layers": 12, "n_segments": 2},
    "distilbert": {**_BERT, **_BASE, "vocab_size": 30_522, "max_len": 512, "n_layers": 6, "next_sentence": False},
    "gpt2": {
        **_BASE,
        "vocab_size": 50_257,
        "max_len": 1024,
        "n_layers": 12,
        "position": "learned",
        "activation": "gelu_tanh",
    },
    # Pre-norm, rotary positions and a normalized embedding: what learned fastest of the shapes that were tried.
    "bert-book": {**_BOOK, "position": "rope", "rope_pairing": "half", "embed_norm": True, "n_segments": 2},
    "gpt-book": {**_BOOK, "position": "rope", "rope_pairing": "half", "activation": "gelu_tanh"},
}

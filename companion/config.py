"""Configurations: small, frozen, checked when they are made, and equal to what they were after a round trip."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from companion.errors import require

Backend = Literal["auto", "fused", "formula"]
Norm = Literal["pre", "post"]
PositionScheme = Literal["sinusoidal", "learned", "rope", "alibi", "none"]


def check_heads(d_model: int, n_heads: int) -> None:
    """Require that the heads share the width evenly: ``d_model = n_heads * d_head``.

    >>> check_heads(10, 3)
    Traceback (most recent call last):
    ...
    ValueError: d_model=10 must be a multiple of n_heads=3; try n_heads in [1, 2, 5, 10]
    """
    require(d_model >= 1, f"d_model={d_model} must be at least 1")
    require(n_heads >= 1, f"n_heads={n_heads} must be at least 1")
    divisors = [h for h in range(1, d_model + 1) if d_model % h == 0]
    require(
        d_model % n_heads == 0, f"d_model={d_model} must be a multiple of n_heads={n_heads}; try n_heads in {divisors}"
    )


class _Config:
    """What every configuration can do."""

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, ready for JSON or TOML."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]  # every subclass is a dataclass

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The configuration with these fields; a name that it does not have is an error, not a silence."""
        known = [f.name for f in fields(cls)]  # type: ignore[arg-type]  # every subclass is a dataclass
        unknown = sorted(set(values) - set(known))
        require(not unknown, f"{cls.__name__} has no field {unknown}; it has {known}")
        return cls(**values)


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    require(value in choices, f"{name}={value!r} is not known; choose one of {list(choices)}")


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(_Config):
    """The shape of a Transformer.

    Attributes:
        vocab_size: number of token ids, V.
        max_len: longest sequence, in tokens.
        d_model: width of a token's vector, D.
        n_layers: number of blocks.
        n_heads: attention heads a block, H; divides ``d_model``.
        d_ff: width inside the feed-forward net.
        dropout: probability with which a value is dropped in training, in [0, 1).
        norm: LayerNorm before (``"pre"``) or after (``"post"``) each sub-layer.
        backend: how attention is computed; see :func:`companion.attention`.
        position: how positions enter.

    >>> TransformerConfig(vocab_size=100, d_model=64, n_heads=4).d_head
    16
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
    norm: Norm = "pre"
    backend: Backend = "auto"
    position: PositionScheme = "sinusoidal"

    def __post_init__(self) -> None:
        for name in ("vocab_size", "max_len", "n_layers", "d_ff"):
            require(getattr(self, name) >= 1, f"{name}={getattr(self, name)} must be at least 1")
        check_heads(self.d_model, self.n_heads)
        require(0.0 <= self.dropout < 1.0, f"dropout={self.dropout} must be in [0, 1)")
        _require_choice("norm", self.norm, get_args(Norm))
        _require_choice("backend", self.backend, get_args(Backend))
        _require_choice("position", self.position, get_args(PositionScheme))
        require(
            self.position != "rope" or self.d_head % 2 == 0,
            f"rotary positions turn pairs of coordinates, but d_head=d_model/n_heads={self.d_head} is odd; "
            "change n_heads or d_model",
        )

    @property
    def d_head(self) -> int:
        """Width of one head, d_model / n_heads."""
        return self.d_model // self.n_heads

"""The shape of low-rank adapters."""

from dataclasses import dataclass

from companion.config.base import Config, check_at_least, check_number
from companion.errors import require


@dataclass(frozen=True, kw_only=True)
class LoRAConfig(Config):
    """The low-rank adapters that :func:`companion.add_lora` puts beside linear layers (Hu et al. 2021).

    Attributes:
        rank: columns of B and rows of A, r.
        alpha: the adapter's output counts ``alpha / rank``.
        targets: which linear layers get one, by the end of their names.

    >>> LoRAConfig(rank=4).targets
    ('q_proj', 'v_proj')
    >>> LoRAConfig(rank=0)
    Traceback (most recent call last):
    ...
    ValueError: rank=0 must be a whole number of at least 1
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("q_proj", "v_proj")

    def __post_init__(self) -> None:
        check_at_least("rank", self.rank, 1)
        check_number("alpha", self.alpha, positive=True)
        require(
            not isinstance(self.targets, str)
            and len(self.targets) > 0
            and all(isinstance(t, str) for t in self.targets),
            f"targets={self.targets!r} must be a list of names, such as ['q_proj', 'v_proj']",
        )
        object.__setattr__(self, "targets", tuple(self.targets))  # TOML and JSON know lists only

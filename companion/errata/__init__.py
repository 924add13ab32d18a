"""The errors of the source document: data (``errata.toml``), and the computations that show them."""

from companion.errata.computations import COMPUTATIONS, confirm, disagreements, recompute, rounds_to
from companion.errata.data import Erratum, as_tensor, load_errata, numbers, parse_errata, printed, source_example

__all__ = [
    "COMPUTATIONS",
    "Erratum",
    "as_tensor",
    "confirm",
    "disagreements",
    "load_errata",
    "numbers",
    "parse_errata",
    "printed",
    "recompute",
    "rounds_to",
    "source_example",
]

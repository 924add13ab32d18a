"""Interactive figures: the same object in a notebook with a kernel and in the book's static page."""

from companion.widgets.attention_bench import AttentionBench
from companion.widgets.gradient_lab import GradientLab
from companion.widgets.head_explorer import HeadExplorer
from companion.widgets.masked_word_lab import MaskedWordLab
from companion.widgets.path_length import PathLength
from companion.widgets.positional_bench import PositionalBench
from companion.widgets.rotary_dial import RotaryDial
from companion.widgets.saliency_lab import SaliencyLab

__all__ = [
    "AttentionBench",
    "GradientLab",
    "HeadExplorer",
    "MaskedWordLab",
    "PathLength",
    "PositionalBench",
    "RotaryDial",
    "SaliencyLab",
]

"""Interactive figures: the same object in a notebook with a kernel and in the book's static page."""

from companion.widgets.attention_bench import AttentionBench
from companion.widgets.positional_bench import PositionalBench
from companion.widgets.rotary_dial import RotaryDial

__all__ = ["AttentionBench", "PositionalBench", "RotaryDial"]

"""Interactive figures: the same object in a notebook with a kernel and in the book's static page."""

from companion.widgets.attention_bench import AttentionBench

__all__ = ["AttentionBench"]

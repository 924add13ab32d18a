"""Arrays in, pictures out: a matrix as LaTeX or text, an attention map, a grid of heads."""

from companion.viz.maps import attention_heatmap, head_grid
from companion.viz.matrix import Matrix, matrix, numbers, side_by_side

__all__ = ["Matrix", "attention_heatmap", "head_grid", "matrix", "numbers", "side_by_side"]

r"""A small matrix for reading: LaTeX in a page, aligned text everywhere else, the same digits in both."""

import re
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from companion.errors import require

MAX_SIDE = 16  # beyond that nobody reads single numbers


class Matrix:
    """One or more named matrices side by side; made by :func:`matrix` and :func:`side_by_side`."""

    def __init__(self, blocks: list[tuple[str | None, list[list[str]]]]) -> None:
        self._blocks = blocks

    def _repr_latex_(self) -> str:
        parts = []
        for name, rows in self._blocks:
            body = r" \\ ".join(" & ".join(_latex_entry(entry) for entry in row) for row in rows)
            head = "" if name is None else f"{name} = "
            parts.append(rf"{head}\begin{{bmatrix}} {body} \end{{bmatrix}}")
        return "$$" + r" \qquad ".join(parts) + "$$"

    def __repr__(self) -> str:
        pictures = [_text_block(name, rows) for name, rows in self._blocks]
        height = max(len(picture) for picture in pictures)
        padded = [picture + [" " * len(picture[0])] * (height - len(picture)) for picture in pictures]
        return "\n".join("   ".join(lines).rstrip() for lines in zip(*padded, strict=True))


def matrix(values: Any, name: str | None = None, *, decimals: int = 4) -> Matrix:
    r"""Show ``values`` as a matrix: LaTeX where the notebook or the page can set it, aligned text elsewhere.

    Whole numbers are shown without decimals when every entry is whole, a bool mask as 1 and 0, minus zero as zero.

    Args:
        values: a tensor, array or nested list with one axis (shown as one row) or two.
        name: what stands before the equals sign, as LaTeX: ``r"QK^\top"``.
        decimals: digits after the point.

    Raises:
        ValueError: not one or two axes, empty, complex, or more than 16 rows or columns.

    >>> matrix([[1, 2], [3, -4]], "X")
    X = [ 1   2 ]
        [ 3  -4 ]
    >>> matrix([0.25, -0.00001], r"QK^\top / \sqrt{2}")
    QKᵀ / √2 = [ 0.2500  0.0000 ]
    >>> matrix([[True, False], [True, True]])
    [ 1  0 ]
    [ 1  1 ]
    >>> matrix([[1, 2]], "x")._repr_latex_()
    '$$x = \\begin{bmatrix} 1 & 2 \\end{bmatrix}$$'
    """
    require(0 <= decimals <= 12, f"decimals={decimals} must be between 0 and 12")
    array = _as_array(values)
    whole = bool(np.all(np.isfinite(array)) and np.all(array == np.round(array)))
    rows = [[_entry(float(value), 0 if whole else decimals) for value in row] for row in array]
    return Matrix([(name, rows)])


def side_by_side(*matrices: Matrix) -> Matrix:
    """Several matrices in one line.

    >>> side_by_side(matrix([[1], [2]], "a"), matrix([[3, 4]], "b"))
    a = [ 1 ]   b = [ 3  4 ]
        [ 2 ]
    """
    require(len(matrices) >= 1, "side_by_side needs at least one matrix; got none")
    return Matrix([block for item in matrices for block in item._blocks])


def numbers(values: Any, spec: str = ".4f") -> str:
    """A few numbers in one line for ``print``, all with the same digits; minus zero as zero.

    >>> numbers([0.5, -0.00001, 1])
    '0.5000  0.0000  1.0000'
    >>> numbers([0.00012, 3.0], ".1e")
    '1.2e-04  3.0e+00'
    """
    array = _as_array(values)
    require(array.shape[0] == 1, f"one line of numbers has one axis; got the shape {array.shape}; use matrix")
    texts = [format(float(value), spec) for value in array[0]]
    return "  ".join(text.removeprefix("-") if float(text) == 0 else text for text in texts)


def _as_array(values: Any) -> NDArray[np.float64]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.double().numpy() if values.dtype == torch.bfloat16 else values.numpy()
    array = np.asarray(values)
    require(array.dtype.kind in "biuf", f"a matrix holds real numbers or bools; got the dtype {array.dtype}")
    require(
        array.ndim in (1, 2),
        f"a matrix has one or two axes; got the shape {array.shape}; pick one with values[0], or flatten",
    )
    require(array.size > 0, f"a matrix needs at least one entry; got the shape {array.shape}")
    require(
        max(array.shape) <= MAX_SIDE,
        f"a matrix of the shape {array.shape} is too large to read (at most {MAX_SIDE} rows and columns); "
        "show a part, or draw it with attention_heatmap",
    )
    return np.atleast_2d(array).astype(np.float64)


def _entry(value: float, decimals: int) -> str:
    if np.isnan(value):
        return "nan"
    if np.isinf(value):
        return "∞" if value > 0 else "-∞"
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _latex_entry(entry: str) -> str:
    return entry.replace("∞", r"\infty").replace("nan", r"\mathrm{nan}")


def _text_block(name: str | None, rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[j]) for row in rows) for j in range(len(rows[0]))]
    head = "" if name is None else f"{_plain(name)} = "
    return [
        (head if i == 0 else " " * len(head))
        + "[ "
        + "  ".join(entry.rjust(width) for entry, width in zip(row, widths, strict=True))
        + " ]"
        for i, row in enumerate(rows)
    ]


def _plain(latex: str) -> str:
    """The LaTeX of a short name as text: fonts and spacing dropped, transposes, roots and infinity as signs."""
    text = re.sub(r"\\(?:mathrm|text|mathbf|operatorname|tilde|hat)\{([^}]*)\}", r"\1", latex)
    text = re.sub(r"\\sqrt\{([^}]*)\}", r"√\1", text).replace(r"^\top", "ᵀ").replace(r"\,", " ")
    text = re.sub(r"([_^])\{([^}]*)\}", r"\1\2", text)
    text = text.replace(r"\infty", "∞").replace("\\", "")
    return re.sub(" +", " ", text).strip()

"""What every interactive figure has: one script for kernel and page, and html that needs neither.

A widget shows itself in two ways at once. In JupyterLab and Colab it is an anywidget, whose traits the kernel and the
page share. As ``text/html`` it is a ``<div data-afm="name" data-state="{json}">`` around a plain table of the default
state: the static page's host turns it into the same figure, and where no script runs the table stays.
"""

import html
import json
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import anywidget
import numpy as np
import torch
import traitlets
from torch import Tensor

from companion.errors import require
from companion.widgets.bundle import module, stylesheet

Numbers = Tensor | np.ndarray[Any, Any] | Sequence[Sequence[float]]
VIEW_MIME = "application/vnd.jupyter.widget-view+json"


class Widget(anywidget.AnyWidget):
    """An interactive figure; ``name`` is that of its script, ``name.js`` in this folder.

    A subclass tags the traits that the page needs with ``page=True`` (and ``sync=True``, which shares them with the
    kernel), and gives ``_summary()`` and ``_fallback()``.
    """

    name: ClassVar[str] = ""
    _css = stylesheet()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "name" in cls.__dict__:  # not in the subclass that anywidget derives for every object
            cls._esm = module(cls.name)
        super().__init_subclass__(**kwargs)

    def _summary(self) -> dict[str, object]:
        """What ``repr`` says."""
        return {}

    def _fallback(self) -> str:
        """Html for where no script runs: the tables of this state, computed by companion."""
        raise NotImplementedError(f"{type(self).__name__} must give _fallback()")

    def page_state(self) -> dict[str, Any]:
        """The state that the static page starts from."""
        return {key: getattr(self, key) for key in sorted(self.trait_names(page=True))}

    def __repr__(self) -> str:
        """Without an address, so that a stored output does not change from run to run."""
        return f"{type(self).__name__}({', '.join(f'{key}={value}' for key, value in self._summary().items())})"

    def _repr_html_(self) -> str:
        state = json.dumps(self.page_state(), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        quoted = state.replace("&", "&amp;").replace("<", "&lt;").replace("'", "&#39;")
        return f'<div class="lm-widget" data-afm="{self.name}" data-state=\'{quoted}\'>{self._fallback()}</div>'

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        # The kernel's display asks for this alone, so html and text are in it.
        shown = super()._repr_mimebundle_(**kwargs)
        data, metadata = shown if shown is not None else ({}, {})
        return {**data, "text/plain": repr(self), "text/html": self._repr_html_()}, metadata


def matrix(name: str, values: Numbers) -> list[list[float]]:
    """Nested lists of numbers, from a tensor, an array or lists; floats of fewer bits keep their short form.

    >>> matrix("x", torch.tensor([[0.1, 2.0]]))
    [[0.1, 2.0]]

    Raises:
        ValueError: not two axes, rows of different lengths, or a number that is not finite.
    """
    try:
        array = np.array(_plain(values))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a matrix with rows of one length; got {values!r}") from error
    require(array.dtype.kind in "biuf", f"{name} must hold numbers; got {values!r}")
    require(
        array.ndim == 2 and array.size > 0,
        f"{name} must have two axes (rows, columns), neither empty; got the shape {array.shape}",
    )
    require(bool(np.isfinite(array).all()), f"{name} must hold finite numbers only; got {values!r}")
    if array.dtype == np.float32:  # 0.1, not 0.10000000149011612: the same number in float32
        return [[float(str(v)) for v in row] for row in array]
    return [[float(v) for v in row] for row in array]


def _plain(values: Numbers) -> Any:
    if not isinstance(values, Tensor):
        return values
    half = values.dtype in (torch.float16, torch.bfloat16)  # bfloat16 is unknown to numpy
    return (values.float() if half else values).detach().cpu().numpy()


class Matrix(traitlets.List):  # type: ignore[type-arg]
    """A trait that holds a matrix as nested lists, or ``[]`` for none; takes tensors and arrays too."""

    def __init__(self) -> None:
        super().__init__()
        self.tag(sync=True, page=True)

    def validate(self, obj: Any, value: Any) -> list[list[float]]:
        """Refuse what is no matrix of finite numbers."""
        empty = isinstance(value, (list, tuple)) and len(value) == 0
        return [] if empty else matrix(self.name or "matrix", value)


def number(value: float) -> str:
    """Four decimals, no minus zero, a masked score as -∞: as the scripts print it.

    >>> number(-0.00001), number(float("-inf")), number(2)
    ('0.0000', '-∞', '2.0000')
    """
    if value == -np.inf:
        return "-∞"
    text = f"{value:.4f}"
    return "0.0000" if text == "-0.0000" else text


def table(
    caption: str,
    values: Numbers,
    rows: Sequence[str],
    columns: Sequence[str],
    write: Callable[[float], str] = number,
) -> str:
    """A plain html table with headers; ``write`` prints a number."""
    head = "".join(f'<th scope="col">{html.escape(c)}</th>' for c in columns)
    body = ""
    for label, row in zip(rows, values, strict=True):
        cells = "".join(f"<td>{write(float(v))}</td>" for v in row)
        body += f'<tr><th scope="row">{html.escape(label)}</th>{cells}</tr>'
    return (
        f"<table><caption>{html.escape(caption)}</caption>"
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>"
    )

"""A matrix shows the same digits as LaTeX and as text."""

import numpy as np
import pytest
import torch

from companion.viz import matrix, numbers, side_by_side


def test_whole_numbers_stand_without_decimals_and_align():
    assert repr(matrix(torch.tensor([[1.0, -20.0], [300.0, 4.0]]), "M")) == "M = [   1  -20 ]\n    [ 300    4 ]"


def test_one_fraction_gives_all_entries_the_same_decimals():
    assert repr(matrix([[1, 0.5]])) == "[ 1.0000  0.5000 ]"
    assert repr(matrix([[1, 0.25]], decimals=1)) == "[ 1.0  0.2 ]"


@pytest.mark.parametrize("value", [-0.0, -0.00004, np.float32(-1e-9)])
def test_minus_zero_is_zero(value):
    shown = matrix([[value, 0.5]])
    assert repr(shown) == "[ 0.0000  0.5000 ]"
    assert "-" not in shown._repr_latex_()


def test_a_number_that_rounds_away_from_zero_keeps_its_sign():
    assert repr(matrix([-0.00006, 0.5])) == "[ -0.0001  0.5000 ]"


@pytest.mark.parametrize("mask", [[[True, False]], torch.tensor([[True, False]]), np.array([[True, False]])])
def test_a_mask_is_ones_and_zeros(mask):
    assert repr(matrix(mask)) == "[ 1  0 ]"


def test_infinity_and_nan():
    shown = matrix([0.5, -torch.inf, torch.inf, torch.nan])
    assert repr(shown) == "[ 0.5000  -∞  ∞  nan ]"
    assert r"0.5000 & -\infty & \infty & \mathrm{nan}" in shown._repr_latex_()


def test_latex_is_one_display_that_holds_every_entry():
    latex = matrix([[1, 2], [3, 4]], r"QK^\top")._repr_latex_()
    assert latex == r"$$QK^\top = \begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}$$"


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"QK^\top / \sqrt{2}", "QKᵀ / √2"),
        (r"\text{printed } A \text{ times } V", "printed A times V"),
        (r"\text{with } -\infty", "with -∞"),
        (r"\mathrm{diag}(p) - p\, p^\top", "diag(p) - p pᵀ"),
        (r"W^{Q}_{1}", "W^Q_1"),
        (r"Z - \max", "Z - max"),
    ],
)
def test_a_name_in_latex_reads_well_as_text(latex, text):
    assert repr(matrix([1], latex)) == f"{text} = [ 1 ]"


def test_side_by_side_pads_the_lower_one():
    shown = side_by_side(matrix([[1, 2]], "a"), matrix([[3], [4]], "b"))
    assert repr(shown).splitlines() == ["a = [ 1  2 ]   b = [ 3 ]", " " * 19 + "[ 4 ]"]
    assert shown._repr_latex_().count("bmatrix") == 4
    assert shown._repr_latex_().startswith("$$a = ")


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.uint8]
)
def test_every_real_dtype(dtype):
    assert repr(matrix(torch.tensor([[1, 2]], dtype=dtype))) == "[ 1  2 ]"


def test_a_tensor_with_a_gradient_is_shown():
    assert repr(matrix(torch.tensor([2.0], requires_grad=True))) == "[ 2 ]"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(2, 3, 4), r"got the shape \(2, 3, 4\); pick one with values\[0\]"),
        (3.0, r"one or two axes; got the shape \(\)"),
        (torch.zeros(0, 3), "at least one entry"),
        (torch.zeros(17, 2), "attention_heatmap"),
        ([[1 + 2j]], "complex128"),
        ([["a"]], "real numbers or bools"),
    ],
)
def test_what_cannot_be_shown_says_why(values, message):
    with pytest.raises(ValueError, match=message):
        matrix(values)


def test_decimals_are_bounded_and_nothing_side_by_side_is_an_error():
    with pytest.raises(ValueError, match="decimals=-1"):
        matrix([1.5], decimals=-1)
    with pytest.raises(ValueError, match="got none"):
        side_by_side()


def test_numbers_in_a_line_have_the_same_digits_even_when_whole():
    assert numbers(torch.tensor([1.0, -0.0, 2.0])) == "1.0000  0.0000  2.0000"
    assert numbers([3.7536e-19], ".2e") == "3.75e-19"
    with pytest.raises(ValueError, match=r"got the shape \(2, 2\); use matrix"):
        numbers([[1, 2], [3, 4]])

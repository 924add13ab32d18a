"""The tracer itself: it sees right comments, wrong ones and lines that never ran."""

from importlib import util
from pathlib import Path

import pytest
from shape_comments import ShapeComments, claims_in

SOURCE = '''
import torch

def product(a, b):
    """In a docstring, # (B, X) claims nothing."""
    B = a.shape[0]  # a number, no tensor
    c = a @ b  # (B, S)
    d = torch.cat(
        [c, c],
        dim=-1,
    )  # (B, 2*S) twice as wide
    e = c[:, : c.size(1) // 2]  # (B, S/2)
    f: torch.Tensor = e[None]  # (..., S/2)
    if B > 100:
        e = e[0]  # (B)
    return d  # (B, 2*S)

def inner(a):
    a = a.mT  # (T, D)
    return helper(a)

def helper(a):
    return a.mT  # (D, T): letters are the caller's own
'''


def module_of(path: Path, source: str):
    path.write_text(source, encoding="utf-8")
    spec = util.spec_from_file_location(path.stem, path)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trace(path: Path, source: str, shapes=((3, 5), (5, 4))) -> ShapeComments:
    import torch

    module = module_of(path, source)
    with ShapeComments(path) as comments:
        module.product(*(torch.zeros(shape) for shape in shapes))
        module.inner(torch.zeros(2, 7))
    return comments


def test_true_comments_pass_and_lines_that_never_ran_are_named(tmp_path):
    comments = trace(tmp_path / "right.py", SOURCE)
    assert comments.errors == []
    assert len(comments.visited) == 7
    assert comments.unvisited == ["right.py:15 e (B)"]


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("c = a @ b  # (B, S)", "c = a @ b  # (S, B)", r"d \(B, 2\*S\)"),
        ("c = a @ b  # (B, S)", "c = a @ b  # (B, S, D)", r"c \(B, S, D\): got the shape \(3, 4\)"),
        ("# (B, 2*S) twice", "# (B, S) twice", r"S is 4 here, got 8"),
        ("# (B, S/2)", "# (B, 3)", r"3 is 3 here, got 2"),
        ("return d  # (B, 2*S)", "return d  # (2*S, B)", r"return \(2\*S, B\)"),
        ("# (..., S/2)", "# (..., S)", r"S is 4 here, got 2"),
    ],
)
def test_a_wrong_comment_is_found(tmp_path, right, wrong, message):
    assert SOURCE.count(right) == 1
    errors = trace(tmp_path / "wrong.py", SOURCE.replace(right, wrong)).errors
    assert errors
    with pytest.raises(AssertionError, match=message):
        raise AssertionError("\n".join(errors))


def test_a_comment_that_cannot_be_checked_is_refused(tmp_path):
    path = tmp_path / "loose.py"
    path.write_text("def f(x):\n    print(x)  # (B, T)\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"loose.py:2: a shape comment belongs behind"):
        claims_in(path)


def test_tracing_ends_with_the_block(tmp_path):
    import sys

    before = sys.gettrace()
    with pytest.raises(RuntimeError), ShapeComments(tmp_path):
        raise RuntimeError
    assert sys.gettrace() is before

"""What the checks of every chapter must do: the tests are made here once, and each chapter's file names its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch

Check = Callable[[Any], str]


def make_tests(
    checks: Sequence[Check], right: Mapping[str, Any], wrong: Sequence[tuple[str, Any, str]]
) -> tuple[Callable[..., None], ...]:
    """Four tests of a chapter's checks.

    Args:
        checks: all of them.
        right: the right answer to each, by its name.
        wrong: wrong answers to each: its name, the answer, and a pattern for the hint.
    """
    named = {check.__name__: check for check in checks}

    def every_check_is_tested() -> None:
        assert set(named) == set(right) == {name for name, _, _ in wrong}

    @pytest.mark.parametrize("check", checks, ids=lambda f: f.__name__)
    def the_right_answer_and_the_stub(check: Check) -> None:
        said = check(right[check.__name__])
        assert said.startswith("right: "), said
        assert check(...).startswith("not yet: replace the three dots")
        for nonsense in (None, "text", [], float("nan"), {}):
            assert check(nonsense).startswith("not yet: "), nonsense

    @pytest.mark.parametrize(("name", "answer", "hint"), wrong)
    def a_wrong_answer_gets_its_hint(name: str, answer: Any, hint: str) -> None:
        said = named[name](answer)
        assert said.startswith("not yet: ") and re.search(hint, said), said

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def the_default_dtype_of_the_notebook_does_not_matter(dtype: torch.dtype) -> None:
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            assert all(check(right[name]).startswith("right") for name, check in named.items())
            assert torch.get_default_dtype() == dtype
        finally:
            torch.set_default_dtype(before)

    return (
        every_check_is_tested,
        the_right_answer_and_the_stub,
        a_wrong_answer_gets_its_hint,
        the_default_dtype_of_the_notebook_does_not_matter,
    )

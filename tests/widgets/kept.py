"""Pages that the tests of a module share: when one of them may not be used again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def let_go(pages: dict[str, Any], used: Iterable[str], *, failed: bool) -> None:
    """Close and forget the pages that a test has used, if it failed, and else those with a problem."""
    for path in used:
        if failed or pages[path].problems:
            pages.pop(path).close()

"""What a reader of one page downloads."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

# Formats that are compressed already; a server sends them as they are.
PACKED = (".woff", ".woff2", ".png", ".jpg", ".jpeg", ".webp", ".gif")


@cache
def compressed(file: Path) -> int:
    """Bytes that a server with gzip sends for a file."""
    content = file.read_bytes()
    return len(content) if file.suffix in PACKED else min(len(content), len(gzip.compress(content, 6)))


def loaded_files(page: Any, folder: Path) -> list[Path]:
    """The page itself and every file of the site that it has loaded so far, each once."""
    addresses = page.evaluate(
        "() => [location.href, ...performance.getEntriesByType('resource').map(entry => entry.name)]"
    )
    names = dict.fromkeys(unquote(urlsplit(a).path).lstrip("/") for a in addresses if not a.startswith("data:"))
    return [folder / (name or "index.html") for name in names]


def page_weight(page: Any, folder: Path, figures: set[str]) -> dict[str, int]:
    """Compressed bytes of everything that the page has loaded, but for its figures, the heaviest first."""
    sizes = {
        file.relative_to(folder).as_posix(): compressed(file)
        for file in loaded_files(page, folder)
        if file.relative_to(folder).as_posix() not in figures
    }
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def table(sizes: dict[str, int]) -> str:
    """The sizes as lines, for the message of a failed test."""
    rows = [f"{size:>10,}  {name}" for name, size in sizes.items()]
    return "\n".join([*rows, f"{sum(sizes.values()):>10,}  in all"])

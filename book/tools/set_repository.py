"""Set the address of the repository everywhere: make repository URL=https://github.com/you/your-copy.

The address stands once in pyproject.toml, [project.urls]; this command changes it there and in every copy: the links of
the book, the first cells of the chapters, the citation. It asks nobody, so the repository need not exist yet.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = re.compile(r"https://github\.com/((?!-)[A-Za-z0-9-]{1,39}(?<!-))/([A-Za-z0-9_.-]{1,100})")
# What stands before OWNER/NAME where a copy of the address stands.
PLACES = r"(?:github\.com/|colab\.research\.google\.com/github/|mybinder\.org/v2/gh/)"
SUFFIXES = {".cff", ".ipynb", ".md", ".py", ".toml", ".txt", ".yml"}
HIDDEN_BUT_OURS = {".github", ".binder"}
NOT_OURS = {"_build", "vendor", "runs", "build", "dist", "venv", "env", "node_modules"}


def owner_and_name(url: str) -> str:
    """OWNER/NAME of an address on GitHub.

    Raises:
        ValueError: for anything else; Colab and Binder open notebooks from there.
    """
    match = ADDRESS.fullmatch(url.strip().removesuffix("/").removesuffix(".git"))
    if match is None or match[2] in {".", ".."}:
        raise ValueError(
            f"got {url!r}; expected an address like https://github.com/OWNER/NAME; "
            "copy it from the browser's address bar on the first page of the repository"
        )
    return f"{match[1]}/{match[2]}"


def files(root: Path) -> Iterator[Path]:
    """Every text file of the project, and nothing that was built or installed."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(n for n in subfolders if n in HIDDEN_BUT_OURS or not (n[0] == "." or n in NOT_OURS))
        yield from (Path(folder, name) for name in sorted(names) if Path(name).suffix in SUFFIXES)


def current(root: Path) -> str:
    """The address that pyproject.toml states."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"])


def set_repository(root: Path, url: str) -> list[Path]:
    """Change the address below root; gives the files that changed, pyproject.toml among them unless nothing did."""
    old, new = owner_and_name(current(root)), owner_and_name(url)
    copy = re.compile(f"({PLACES}){re.escape(old)}(?![A-Za-z0-9_-])".encode())
    changed = []
    for file in files(root):
        before = file.read_bytes()  # bytes, so that line ends stay as they are
        after = copy.sub(rb"\g<1>" + new.encode(), before)
        if after != before:
            file.write_bytes(after)
            changed.append(file)
    return changed


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("give one address: make repository URL=https://github.com/OWNER/NAME", file=sys.stderr)
        return 2
    try:
        changed = set_repository(ROOT, arguments[0])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(f"changed {file.relative_to(ROOT).as_posix()}" for file in changed) or "nothing to change")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

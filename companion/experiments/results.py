"""The recorded runs of the book, `book/results/*.json`: found, read, and written cell by cell."""

import json
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from companion.errors import require
from companion.files import write_text_whole

_INSTALLED = Path(__file__).parents[1] / "results"  # pyproject.toml puts book/results there


def load_result(name: str, *, folder: Path | None = None) -> dict[str, Any]:
    """The recorded run ``name``: looked for in ``results/`` and ``book/results/`` here and in the folders above.

    An installed package has a copy of them, which is taken where there is none beside the notebook.

    Args:
        name: the file's name without its ending, like ``"extrapolation"``.
        folder: where to begin; by default the current folder, which is a notebook's own.

    Raises:
        ValueError: the file is nowhere.

    >>> load_result("nothing-of-that-name")
    Traceback (most recent call last):
    ...
    ValueError: results/nothing-of-that-name.json is not beside this notebook; the recorded runs stand in the book's \
repository under book/results: clone it, or put that file into a folder called results beside the notebook
    """
    loaded: dict[str, Any] = json.loads(find_result(f"{name}.json", folder=folder).read_text(encoding="utf-8"))
    return loaded


def find_result(name: str, *, folder: Path | None = None) -> Path:
    """Where a recorded file, or a folder of them, stands; arguments and errors as in :func:`load_result`."""
    here = (Path.cwd() if folder is None else folder).resolve()
    for base in (here, *here.parents):
        for path in (base / "results" / name, base / "book" / "results" / name):
            if path.exists():
                return path
    installed = _INSTALLED / name
    require(
        installed.exists(),
        f"results/{name} is not beside this notebook; the recorded runs stand in the book's repository under "
        f"book/results: clone it, or put that {'file' if Path(name).suffix else 'folder'} into a folder called results "
        "beside the notebook",
    )
    return installed


class Record:
    """A run in cells, written after each one, so that a second start goes on where the first one stopped.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "squares.json"
    >>> for n in (2, 3):
    ...     record = Record(path, command="python squares.py", config={"power": 2})
    ...     for i in range(n):
    ...         if not record.has(i=i):
    ...             record.add({"i": i}, {"square": i * i})
    >>> [run["square"] for run in json.loads(path.read_text(encoding="utf-8"))["runs"]]
    [0, 1, 4]
    """

    def __init__(self, path: Path, *, command: str, config: dict[str, Any]) -> None:
        self.path = path
        config = json.loads(json.dumps(config))  # as it will read back: lists, not tuples
        self.content: dict[str, Any] = {
            "command": command,
            "config": config,
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
            "date": datetime.now(UTC).date().isoformat(),
            "seconds": 0.0,
            "runs": [],
        }
        if path.is_file():
            before = json.loads(path.read_text(encoding="utf-8"))
            require(
                before["config"] == config,
                f"{path.name} was recorded with another configuration; move it away to record anew",
            )
            self.content = before
        self._clock = time.perf_counter()

    def has(self, **key: Any) -> bool:
        """Is the cell with this key recorded?"""
        return any(all(run[name] == value for name, value in key.items()) for run in self.content["runs"])

    def add(self, key: dict[str, Any], values: dict[str, Any]) -> None:
        """Append a cell, with the seconds since the last one, and write the file."""
        seconds = round(time.perf_counter() - self._clock, 1)
        self._clock = time.perf_counter()
        self.content["runs"].append({**key, **values, "seconds": seconds})
        self.content["seconds"] = round(sum(run["seconds"] for run in self.content["runs"]), 1)
        write_text_whole(self.path, json.dumps(self.content, indent=1) + "\n")

"""Execute the chapters and store their outputs in one normal form: two runs give identical bytes.

    python book/tools/execute.py                       every notebook in book/
    python book/tools/execute.py book/03_attention.ipynb ...

A cell that raises, writes to stderr or shows an object's address leaves the file as it was, and the exit status is 1.
"""

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

BOOK = Path(__file__).resolve().parents[1]
CELL_TIMEOUT = 600  # seconds
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KEPT_CELL_METADATA = ("tags", "mystnb")
# Constants: the kernel's own answer holds the version of Python, which differs between the machines of two authors.
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}
# Progress bars are for people who run a cell, not for the page: tqdm reads this from the environment.
KERNEL_ENVIRONMENT = {"TQDM_DISABLE": "1", "PYTHONUTF8": "1"}
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")


class NotStorable(Exception):
    """The notebook ran, but what it shows does not belong in the book."""


def execute(notebook: NotebookNode, folder: Path, environment: dict[str, str] | None = None) -> NotebookNode:
    """Run every cell of ``notebook`` in ``folder`` with a fresh kernel, in place; a cell that raises is an error."""
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
        force_raise_errors=True,
        extra_arguments=["--log-level=40"],  # else every kernel says that it talks over TCP
    )
    env = {**os.environ, **KERNEL_ENVIRONMENT, **(environment or {})}
    return client.execute(env=env)


def normalize(notebook: NotebookNode) -> NotebookNode:
    """Reduce ``notebook``, in place, to what the book stores."""
    notebook.metadata = nbformat.from_dict(NOTEBOOK_METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: cell.metadata[k] for k in KEPT_CELL_METADATA if k in cell.metadata})
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)  # its model id is random, and a page has no widget manager
            output.get("metadata", {}).pop(WIDGET_VIEW, None)
            if isinstance(output.get("text"), str):
                output.text = output.text.replace("\r\n", "\n")
        if "outputs" in cell:
            cell.outputs = [o for o in cell.outputs if o.output_type in ("stream", "error") or o.data]
    return notebook


def check_storable(notebook: NotebookNode) -> None:
    """Raise :class:`NotStorable` for outputs that would be wrong in a page or differ from run to run."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                raise NotStorable(f"cell {cell.id} wrote to stderr: {output.text.strip()[:300]}")
            for text in texts(output):
                if ADDRESS.search(text):
                    raise NotStorable(f"cell {cell.id} shows an object's address: {text.strip()[:300]}")


def texts(output: NotebookNode) -> list[str]:
    """The textual parts of one output."""
    parts = [output.get("text", "")] + [v for k, v in output.get("data", {}).items() if k.startswith("text/")]
    return ["".join(part) for part in parts]


def serialize(notebook: NotebookNode) -> str:
    """The one spelling of a notebook: UTF-8 kept as it is, sorted keys, indent 1, a newline at the end."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def refresh(path: Path) -> bool:
    """Execute the notebook at ``path`` and store it; True if the bytes changed. On an error the file is untouched."""
    before = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(before, as_version=4)
    after = run_and_serialize(notebook, path.parent)
    if after == before:
        return False
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(after, encoding="utf-8", newline="\n")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return True


def run_and_serialize(notebook: NotebookNode, folder: Path) -> str:
    """Execute, normalize, check, and give the text to store."""
    normalize(execute(notebook, folder))
    check_storable(notebook)
    return serialize(notebook)


def main(arguments: list[Any] | None = None) -> int:
    parser = argparse.ArgumentParser(description="execute chapters and store normalized outputs")
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: every notebook in book/")
    paths = parser.parse_args(arguments).notebooks or sorted(BOOK.glob("*.ipynb"))
    failed = 0
    for path in paths:
        try:
            print(f"{path}: {'stored' if refresh(path) else 'unchanged'}", flush=True)
        except (CellExecutionError, CellTimeoutError, DeadKernelError, NotStorable, OSError) as error:
            failed += 1
            print(f"{path}: NOT stored, the file is as it was\n{error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

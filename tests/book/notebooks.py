"""The pages of the book as files: which there are, and what is in them."""

import importlib.util
import json
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
UNVERIFIED = {"nbval-ignore-output", "nbval-skip"}


@cache
def pages() -> list[Path]:
    """Every page of the table of contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))

    def names(node: Any) -> list[str]:
        if isinstance(node, list):
            return [name for part in node for name in names(part)]
        own = [node[key] for key in ("root", "file") if key in node]
        return own + [n for key in ("parts", "chapters", "sections") for n in names(node.get(key, []))]

    return [next(ROOT.glob(f"{name}.*")) for name in names(toc) if list(ROOT.glob(f"{name}.*"))]


def chapters() -> list[Path]:
    """Every page that is a notebook."""
    return [page for page in pages() if page.suffix == ".ipynb"]


def read_notebook(path: Path) -> dict[str, Any]:
    """A notebook as plain data, each source and each text output joined into one string."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
        for output in cell.get("outputs", []):
            for part in (output, output.get("data", {})):
                part.update({k: "".join(v) for k, v in part.items() if isinstance(v, list) and k != "traceback"})
    return notebook


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """The code cells that hold code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"].strip()]


def tags(cell: dict[str, Any]) -> set[str]:
    """The tags of a cell."""
    return set(cell["metadata"].get("tags", []))


def verified(cell: dict[str, Any]) -> bool:
    """Does nbval compare what this cell shows?"""
    return cell["cell_type"] == "code" and cell["execution_count"] is not None and not tags(cell) & UNVERIFIED


def shown_texts(cell: dict[str, Any]) -> list[tuple[str, str]]:
    """What a cell shows as text: pairs of text and its kind, "text", "math" or "markdown"."""
    shown = []
    for output in cell.get("outputs", []):
        if output["output_type"] == "stream" and output["name"] == "stdout":
            shown.append((output["text"], "text"))
        data = output.get("data", {})
        for mime, kind in (("text/plain", "text"), ("text/latex", "math"), ("text/markdown", "markdown")):
            if mime in data:
                shown.append((data[mime], kind))
    return shown


@cache
def tool(name: str) -> ModuleType:
    """A script of book/tools as a module."""
    spec = importlib.util.spec_from_file_location(f"book_tools_{name}", ROOT / "book" / "tools" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

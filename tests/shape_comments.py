"""Check the trailing shape comments of the package while its code runs.

A comment such as ``# (B, H, T, S)`` behind ``name = ...`` is a claim about the shape of ``name``, and behind ``return``
about what is returned. ``with ShapeComments(folder) as comments:`` traces every function of the folder that runs inside
the block. In one call each letter stands for one number; ``2*T`` and ``D/2`` are computed from the letters; ``...``
stands for any leading axes; words that are no dimension after the closing bracket are free.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

_LETTER = r"[A-Z][A-Za-z]?"
_DIMENSION = rf"(?:\.\.\.|\d+|{_LETTER}|\d+\*{_LETTER}|{_LETTER}/\d+)"
_COMMENT = re.compile(rf"#\s*\(({_DIMENSION}(?:,\s*{_DIMENSION})*),?\)")


@dataclass(frozen=True)
class Claim:
    """One comment: what has which shape, where."""

    file: Path
    first_line: int
    last_line: int
    name: str | None  # None: the value that is returned
    dimensions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file.name}:{self.last_line} {self.name or 'return'} ({', '.join(self.dimensions)})"

    def problem(self, shape: tuple[int, ...], letters: dict[str, int]) -> str | None:
        """What is wrong with this shape, or None; binds the letters that it meets first."""
        dimensions = self.dimensions
        if dimensions[0] == "...":
            dimensions, shape = dimensions[1:], shape[len(shape) - len(dimensions) + 1 :]
        if len(dimensions) != len(shape):
            return f"{self}: got the shape {shape}"
        for dimension, size in zip(dimensions, shape, strict=True):
            expected = _value(dimension, letters)
            if expected is None:
                letters.setdefault(dimension, size)
            elif expected != size:
                return f"{self}: {dimension} is {expected:g} here, got {size} in {shape}"
        return None


def _value(dimension: str, letters: dict[str, int]) -> float | None:
    """The number that a dimension stands for, or None where its letter was not met yet."""
    factor, _, product = dimension.rpartition("*")
    letter, _, divisor = product.partition("/")
    size = int(letter) if letter.isdigit() else letters.get(letter)
    return None if size is None else int(factor or 1) * size / int(divisor or 1)


def claims_in(file: Path) -> list[Claim]:
    """Every shape comment of a file. One that stands behind nothing that can be checked is an error."""
    source = file.read_text(encoding="utf-8")
    statements = {
        node.end_lineno: node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return)
    }
    claims = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        match = _COMMENT.match(token.string) if token.type == tokenize.COMMENT else None
        if match is None:
            continue
        line = token.start[0]
        node = statements.get(line)
        target = None if node is None or isinstance(node, ast.Return) else _target(node)
        if node is None or (target is None and not isinstance(node, ast.Return)):
            raise AssertionError(f"{file.name}:{line}: a shape comment belongs behind `name = ...` or `return ...`")
        claims.append(Claim(file, node.lineno, line, target, tuple(re.split(r",\s*", match[1]))))
    return claims


def _target(node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> str | None:
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    return target.id if isinstance(target, ast.Name) else None


@dataclass
class ShapeComments:
    """Trace the functions below ``folder``; afterwards ``errors`` and ``unvisited`` say what was found."""

    folder: Path
    errors: list[str] = field(default_factory=list)
    visited: set[Claim] = field(default_factory=set)

    def __post_init__(self) -> None:
        files = sorted(self.folder.rglob("*.py")) if self.folder.is_dir() else [self.folder]
        self.claims = {str(file.resolve()): {c.last_line: c for c in claims_in(file)} for file in files}
        self._lines = {
            name: {line: c for c in claims.values() for line in range(c.first_line, c.last_line + 1)}
            for name, claims in self.claims.items()
        }

    @property
    def unvisited(self) -> list[str]:
        """The comments whose line never ran."""
        return [str(c) for claims in self.claims.values() for c in claims.values() if c not in self.visited]

    def __enter__(self) -> "ShapeComments":
        self._before = sys.gettrace()
        sys.settrace(self._on_call)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        sys.settrace(self._before)

    def _on_call(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        lines = self._lines.get(frame.f_code.co_filename)
        if not lines:
            return None
        letters: dict[str, int] = {}
        pending: Claim | None = None  # an assignment is checked when the line after it begins

        def on_line(frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
            nonlocal pending
            here = lines.get(frame.f_lineno) if event == "line" else None
            if event == "exception":
                pending = None
            elif pending is not None and here is not pending:
                if pending.name is not None:
                    self._check(pending, frame.f_locals.get(pending.name), letters)
                elif event == "return":
                    self._check(pending, argument, letters)
                pending = None
            pending = here if here is not None else pending
            return on_line

        return on_line

    def _check(self, claim: Claim, value: Any, letters: dict[str, int]) -> None:
        shape = getattr(value, "shape", None)
        if shape is None:  # None where a tensor may be missing, or the function is leaving by an exception
            return
        self.visited.add(claim)
        problem = claim.problem(tuple(shape), letters)
        if problem:
            self.errors.append(problem)

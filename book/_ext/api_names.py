"""What a name of companion means, and where it is defined: the way Python finds it, and the way the source says it."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = "companion"


def public_modules(package: str = PACKAGE) -> list[str]:
    """All modules below and with this one whose names do not begin with an underscore."""
    module = importlib.import_module(package)
    below = pkgutil.walk_packages(module.__path__, f"{package}.") if hasattr(module, "__path__") else ()
    return [package, *(m.name for m in below if not any(part.startswith("_") for part in m.name.split(".")))]


def source(module: str) -> str:
    """The text of a module."""
    return Path(inspect.getfile(importlib.import_module(module))).read_text(encoding="utf-8")


@cache
def public_homes() -> dict[str, str]:
    """The module that each name of ``companion.__all__`` comes from."""
    return {name: origin(PACKAGE, name).rpartition(".")[0] for name in importlib.import_module(PACKAGE).__all__}


def definition_lines(source: str) -> dict[str, tuple[int, int]]:
    r"""First and last line of all that a module's source defines, decorators included; methods as ``Class.method``.

    >>> definition_lines("A = 1\n@d\nclass B:\n    def f(self): ...")
    {'A': (1, 1), 'B': (2, 4), 'B.f': (4, 4)}
    """
    found: dict[str, tuple[int, int]] = {}

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            last = node.end_lineno or node.lineno
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found[prefix + node.name] = (min([node.lineno, *(d.lineno for d in node.decorator_list)]), last)
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.")
            for target in assigned(node):
                found.setdefault(prefix + target, (node.lineno, last))

    visit(ast.parse(source).body, "")
    return found


def assigned(node: ast.stmt) -> list[str]:
    """The names that a statement gives a value."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def documented(source: str) -> dict[str, str]:
    """What a module's source defines for others, in its order, with the docstring: a constant's stands below it."""
    body = ast.parse(source).body
    found = {}
    for node, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = ast.get_docstring(node) or ""
        elif isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found |= dict.fromkeys(assigned(node), str(after.value.value))
    return {name: text for name, text in found.items() if text and not name.startswith("_")}


def origin(module: str, name: str) -> str:
    """Where a name of a module is defined: follow the imports.

    >>> origin("companion", "IGNORE")
    'companion.nn.losses.IGNORE'
    """
    while imports(module).get(name, "").startswith(f"{PACKAGE}."):
        module, _, name = imports(module)[name].rpartition(".")
    return f"{module}.{name}"


@cache
def imports(module: str) -> dict[str, str]:
    """What a module calls by a name of its own: the paths of its imports, those for the type checker included."""
    names = {}
    for node in ast.walk(ast.parse(source(module))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                names |= imports(node.module) if alias.name == "*" else {}
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
    return names


def canonical(target: str, module: str) -> str | None:
    """Where the object stands that a name means in a module: ``attention`` in companion, ``companion.nn.attention...``.

    >>> canonical("attention", "companion")
    'companion.nn.attention.attention'
    """
    imported = imports(module).get(target.split(".")[0])
    paths = [(module, target), (PACKAGE, target), ("", target)]
    if imported is not None:  # for a type checker only, perhaps
        paths.append(("", ".".join([imported, *target.split(".")[1:]])))
    return next((found for start, path in paths if (found := look_up(start, path)) is not None), None)


@cache
def look_up(module: str, target: str) -> str | None:
    """The path of what ``module.target`` is, if it is ours; with no module, ``target`` begins with one."""
    parts = target.strip(".").split(".")
    if not module:
        if parts[0] != PACKAGE:
            return None
        module, parts = PACKAGE, parts[1:]
    value: Any = importlib.import_module(module)
    owner = value
    for part in parts:
        owner = value
        if not hasattr(value, part) and isinstance(value, ModuleType):
            try:
                importlib.import_module(f"{value.__name__}.{part}")
            except ImportError:
                return None
        value = inspect.getattr_static(value, part, None)
        if value is None:
            return None
    if isinstance(value, ModuleType):
        path = value.__name__
    elif not isinstance(owner, ModuleType):
        path = f"{owner.__module__}.{owner.__qualname__}.{parts[-1]}"
    elif inspect.isclass(value) or inspect.isroutine(value):
        path = f"{value.__module__}.{value.__qualname__}"
    else:
        path = origin(owner.__name__, parts[-1])
    return path if path.split(".")[0] == PACKAGE else None

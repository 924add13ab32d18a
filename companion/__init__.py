"""companion: the code of the book Large Models from Scratch, importable.

The names below are the public ones; each module's docstrings give formulas, shapes and sources.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from companion._public import *  # noqa: F403
    from companion._public import __all__ as __all__


def __getattr__(name: str) -> Any:
    """All of the public names, when the first is asked for: they need PyTorch, whose import takes seconds."""
    if name.startswith("__") and name != "__all__":
        raise AttributeError(f"module 'companion' has no attribute {name!r}")
    public = import_module("companion._public")
    names = {key: getattr(public, key) for key in [*public.__all__, "__all__"]}
    globals().update(names)
    if name not in names:
        raise AttributeError(f"module 'companion' has no attribute {name!r}")
    return names[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("companion._public").__all__})

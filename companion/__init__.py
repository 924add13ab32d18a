"""companion: the code of the book Large Models from Scratch, importable.

The names below are the public ones; each module's docstrings give formulas, shapes and sources.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from companion._public import *  # noqa: F403
    from companion._public import __all__ as __all__


def __getattr__(name: str) -> Any:
    """All of the public names, when the first is asked for: they need PyTorch, whose import takes seconds.

    The folders of the package come along, so ``companion.nn`` is there, too.
    """
    if name.startswith("__") and name != "__all__":
        raise AttributeError(f"module 'companion' has no attribute {name!r}")
    public = import_module("companion._public")
    globals().update({key: getattr(public, key) for key in [*public.__all__, "__all__"]})
    if name not in globals():
        raise AttributeError(f"module 'companion' has no attribute {name!r}")
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("companion._public").__all__})

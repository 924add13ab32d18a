"""What autodoc is told, so that it reads the docstrings of companion as they are meant, and no more than it must."""

from __future__ import annotations

from typing import Any

from api_names import PACKAGE, documented, source
from sphinx.application import Sphinx
from sphinx.errors import PycodeError
from sphinx.ext import autodoc, napoleon
from sphinx.pycode import ModuleAnalyzer
from torch import nn


def skip_member(app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples, which say "Alias for field number 0"; the class describes them."""
    return True if type(value).__name__ == "_tuplegetter" else None


def public_bases(app: Sphinx, name: str, value: Any, options: Any, bases: list[Any]) -> None:
    """Call PyTorch's class by the name that its documentation has it under."""
    bases[:] = [":py:class:`~torch.nn.Module`" if base is nn.Module else base for base in bases]


def plain_protocol(app: Sphinx, what: str, name: str, value: Any, *rest: Any) -> tuple[str, None] | None:
    """A protocol is not made by calling it: without (*args, **kwargs)."""
    return ("", None) if what == "class" and getattr(value, "_is_protocol", False) else None


def read_google_style(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Napoleon, but for attributes: there it takes what stands before a colon for a type."""
    if what not in ("attribute", "data", "property"):
        napoleon._process_docstring(app, what, name, value, options, lines)
    if what == "module":  # then the names in it, to jump to
        links = " ".join(f'<a href="#{name}.{key}">{key}</a>' for key in documented(source(name)))
        lines += [".. raw:: html", "", f'   <p class="lm-api-index">{links}</p>', ""] * bool(links)


def our_source(module: str, read: Any = ModuleAnalyzer.for_module) -> ModuleAnalyzer:
    """What autodoc finds in a source: not in torch's, where it would look for comments on inherited attributes."""
    if module.split(".")[0] != PACKAGE:
        raise PycodeError(f"{module} is not ours")
    return read(module)


def replace_napoleon(app: Sphinx) -> None:
    """Let the function above do the reading."""
    listeners = app.events.listeners["autodoc-process-docstring"]
    listeners[:] = [each for each in listeners if each.handler is not napoleon._process_docstring]
    app.connect("autodoc-process-docstring", read_google_style)


def connect(app: Sphinx) -> None:
    """Load autodoc, and let all of this take part in it."""
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.napoleon")
    replace_napoleon(app)
    ModuleAnalyzer.for_module = our_source  # type: ignore[method-assign]
    # An interactive figure is made by its __init__; traitlets' own __new__ takes anything.
    autodoc._CLASS_NEW_BLACKLIST.append("traitlets.traitlets.HasDescriptors.__new__")
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-signature", plain_protocol)
    app.connect("autodoc-process-bases", public_bases)

"""The files of a saved model and where they are, without PyTorch; :mod:`companion.models.pretrained` loads them."""

from __future__ import annotations

import json
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companion.data.tokenizer import BOOK, load_tokenizer
from companion.errors import require

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CONFIG, WEIGHTS, CARD, TOKENIZER = "config.json", "model.safetensors", "README.md", "tokenizer.json"
CLASSIFIER = "classifier"


def pretrained_names() -> list[str]:
    """The names that :func:`load_pretrained` knows."""
    assets = resources.files("companion").joinpath("assets")
    return sorted(entry.name for entry in assets.iterdir() if entry.joinpath(CONFIG).is_file())


def find_pretrained(name_or_folder: str | Path) -> Traversable:
    """The folder of a model's files.

    Raises:
        ValueError: there is none; the message says which models ship.
    """
    shipped = pretrained_names()
    if str(name_or_folder) in shipped:
        return resources.files("companion").joinpath("assets", str(name_or_folder))
    folder = Path(name_or_folder)
    require(
        (folder / CONFIG).is_file(),
        f"no pretrained model {str(name_or_folder)!r}: {shipped} ship with the package; or give a folder that "
        "`companion export` wrote",
    )
    return folder


def pretrained_settings(name_or_folder: str | Path) -> dict[str, Any]:
    """What stands in a model's configuration file: ``kind``, ``config``, and ``about``, how it came about.

    Of a classifier also ``classifier``: how it reads texts and what its classes are called.

    Raises:
        ValueError: there is no such model, or the file is damaged.
    """
    folder = find_pretrained(name_or_folder)
    try:
        settings: dict[str, Any] = json.loads(folder.joinpath(CONFIG).read_text(encoding="utf-8"))
        names = ("kind", "config", "about", *([CLASSIFIER] if settings["kind"] == CLASSIFIER else []))
        return {name: settings[name] for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{CONFIG} of {name_or_folder} is missing or damaged ({error!r}); export it again") from error


def pretrained_tokenizer(name_or_folder: str | Path, name: str) -> Tokenizer:
    """The tokenizer that a classifier's settings name: the book's, or the file beside its weights.

    Raises:
        ValueError: the file is missing or damaged.
    """
    if name == BOOK:
        return load_tokenizer()
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(find_pretrained(name_or_folder).joinpath(name).read_text(encoding="utf-8"))
    except Exception as error:  # the library raises plain Exception
        raise ValueError(f"{name} of {name_or_folder} is missing or damaged ({error}); export it again") from error

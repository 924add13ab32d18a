"""The files of a saved model and where they are, without PyTorch; :mod:`companion.models.pretrained` loads them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from companion.config import TransformerConfig, check_at_least, check_choice, check_names, check_number
from companion.data.passages import Keep
from companion.data.tokenizer import BOOK, load_tokenizer
from companion.errors import require

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CONFIG, WEIGHTS, CARD, TOKENIZER = "config.json", "model.safetensors", "README.md", "tokenizer.json"
CLASSIFIER = "classifier"
Pooling = Literal["mean", "first"]
"""What a classifier sums a text up by: the mean over its tokens, or its first token."""

LEAST = 3
"""Tokens that a classifier reads at least: a token of the text between ``[CLS]`` and ``[SEP]``."""
_SETTINGS = ("labels", "pooling", "max_len", "keep", "temperature", "tokenizer")


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
        "`companion export` wrote; a command also takes a run's folder that holds a checkpoint (step-...)",
    )
    return folder


def is_export(folder: Path) -> bool:
    """Whether the folder holds a model that :func:`companion.models.pretrained.save_pretrained` wrote.

    >>> is_export(Path("nowhere"))
    False
    """
    try:
        stored = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(stored, dict) and stored.keys() >= {"kind", "config", "about"}  # no other library's has these


def pretrained_settings(name_or_folder: str | Path) -> dict[str, Any]:
    """What stands in a model's configuration file: ``kind``, ``config``, and ``about``, how it came about.

    Of a classifier also ``classifier``: how it reads texts and what its classes are called.

    Raises:
        ValueError: there is no such model, the file is damaged, or a classifier's settings are not what
            :func:`check_classifier` expects.
    """
    folder = find_pretrained(name_or_folder)
    try:
        stored: dict[str, Any] = json.loads(folder.joinpath(CONFIG).read_text(encoding="utf-8"))
        names = ("kind", "config", "about", *([CLASSIFIER] if stored["kind"] == CLASSIFIER else []))
        settings = {name: stored[name] for name in names}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{CONFIG} of {name_or_folder} is missing or damaged ({error!r}); export it again") from error
    if CLASSIFIER in settings:
        config = pretrained_config(name_or_folder, settings)
        with _named(name_or_folder):
            check_classifier(settings[CLASSIFIER], longest=config.max_len)
    return settings


def pretrained_config(name_or_folder: str | Path, settings: Mapping[str, Any]) -> TransformerConfig:
    """The shape in a model's settings.

    Raises:
        ValueError: it is none; the message names the file.
    """
    with _named(name_or_folder):
        return TransformerConfig.from_dict(settings["config"])


@contextmanager
def _named(name_or_folder: str | Path) -> Iterator[None]:
    """What is wrong inside is said of the model's configuration file."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{CONFIG} of {name_or_folder}: {error}; mend it there, or export the model again") from error


def check_classifier(how: Any, *, longest: int) -> None:
    """Require that the settings of a classifier are complete, and each is what it should be.

    Args:
        how: what :meth:`companion.models.text_classifier.TextClassifier.settings` gives: ``labels``, ``pooling``,
            ``max_len``, ``keep``, ``temperature``, ``tokenizer``.
        longest: tokens that its model reads at most.

    Raises:
        ValueError: one is missing, or is not what it should be; the message says what it is and what is expected.

    >>> how = {"pooling": "mean", "max_len": 8, "keep": "both", "temperature": 1.0, "tokenizer": "book"}
    >>> check_classifier({**how, "labels": ["neg", "neg"]}, longest=8)
    Traceback (most recent call last):
    ...
    ValueError: labels=['neg', 'neg'] must be a list of two or more different names, such as ['neg', 'pos']
    """
    require(isinstance(how, Mapping), f"{CLASSIFIER}={how!r} must be an object with the fields {list(_SETTINGS)}")
    missing = [name for name in _SETTINGS if name not in how]
    require(not missing, f"the classifier's settings lack {missing}")
    check_names("labels", how["labels"])
    check_choice("pooling", how["pooling"], Pooling)
    check_at_least("max_len", how["max_len"], LEAST)
    require(how["max_len"] <= longest, f"max_len={how['max_len']}, but the model reads at most {longest} tokens")
    check_choice("keep", how["keep"], Keep)
    check_number("temperature", how["temperature"], positive=True)
    known = (BOOK, TOKENIZER)
    require(how["tokenizer"] in known, f"tokenizer={how['tokenizer']!r} is not known; choose one of {list(known)}")


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

"""Models that the project trained itself, with the package: small weights in float16, a configuration and a card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion.errors import require
from companion.files import write_whole
from companion.models.bert import BERT
from companion.models.classifier import TransformerClassifier
from companion.models.gpt import GPT
from companion.models.pretrained_files import (
    CARD,
    CLASSIFIER,
    CONFIG,
    TOKENIZER,
    WEIGHTS,
    check_classifier,
    find_pretrained,
    is_export,
    pretrained_config,
    pretrained_settings,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

KINDS: dict[str, type[BERT] | type[GPT] | type[TransformerClassifier]] = {
    "bert": BERT,
    "gpt": GPT,
    CLASSIFIER: TransformerClassifier,
}
Model = BERT | GPT | TransformerClassifier


def load_pretrained(name_or_folder: str | Path) -> Model:
    """A trained model, in evaluation mode and float32; nothing is downloaded.

    Args:
        name_or_folder: a model that ships with the package, such as ``"bert-book-imdb"`` or ``"gpt-book-imdb"``, whose
            tokenizer is ``load_tokenizer("book")``; or a folder that ``companion export`` wrote. Of a classifier this
            is the bare model; :func:`companion.load_classifier` adds its tokenizer and the names of its classes.

    Raises:
        ValueError: there is no such model (it says which there are), or its files are damaged or do not fit together.
    """
    settings = pretrained_settings(name_or_folder)
    kind = settings["kind"]
    require(kind in list(KINDS), f"{CONFIG} of {name_or_folder} says kind={kind!r}; expected one of {list(KINDS)}")
    with torch.random.fork_rng(devices=[]):  # the first weights are replaced below: they shall cost no random numbers
        model = _blank(name_or_folder, settings)
    _load_strictly(model, _read_weights(find_pretrained(name_or_folder), name_or_folder), str(name_or_folder))
    return model.eval()


def save_pretrained(
    folder: str | Path,
    model: Model,
    *,
    card: str,
    dtype: torch.dtype = torch.float16,
    about: Any = None,
    classifier: Mapping[str, Any] | None = None,
    tokenizer: Tokenizer | None = None,
) -> Path:
    """Write weights (shared ones once), configuration and model card for :func:`load_pretrained`; the folder.

    The files are written whole and then renamed, so an export that is stopped leaves the one before it as it was. One
    that succeeds replaces all of it: without ``tokenizer``, a ``tokenizer.json`` of the one before is removed.

    Args:
        folder: made if it is not there.
        model: what to save.
        card: the model card, Markdown.
        dtype: what the weights are rounded to.
        about: more to say in the configuration file, under ``about``.
        classifier: of a classifier, what :meth:`companion.models.text_classifier.TextClassifier.settings` gives.
        tokenizer: goes along, as ``tokenizer.json``; None = the book's, which ships with the package.

    Raises:
        ValueError: weights that ``dtype`` cannot hold; ``classifier`` is missing, does not belong, or would be refused.
        OSError: the folder cannot be written to.
    """
    from safetensors.torch import save

    kind = next(kind for kind, cls in KINDS.items() if type(model) is cls)
    require(
        (classifier is not None) == (kind == CLASSIFIER),
        "a classifier, and nothing else, is saved with the names of its classes: TextClassifier.save",
    )
    folder = Path(folder)
    weights = {name: tensor.to("cpu", dtype).contiguous() for name, tensor in _own_weights(model).items()}
    bad = [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]
    require(not bad, f"{bad} hold values that are not finite in {dtype}; choose another dtype")
    settings: dict[str, Any] = {"kind": kind, "config": model.config.to_dict(), "about": about or {}}
    if classifier is not None:
        check_classifier(classifier, longest=model.config.max_len)
        settings[CLASSIFIER] = classifier
    files = {WEIGHTS: save(weights, metadata={"format": "pt"}), CARD: card.encode("utf-8")}
    if tokenizer is not None:
        files[TOKENIZER] = (tokenizer.to_str(pretty=True) + "\n").encode("utf-8")
    files[CONFIG] = (json.dumps(settings, indent=1) + "\n").encode("utf-8")  # last: what has one is a model
    left_over = tokenizer is None and is_export(folder)
    write_whole({folder / name: data for name, data in files.items()})
    if left_over:
        (folder / TOKENIZER).unlink(missing_ok=True)
    return folder


def _blank(name: str | Path, settings: Mapping[str, Any]) -> Model:
    """The model of these settings with any weights."""
    config = pretrained_config(name, settings)
    if settings["kind"] != CLASSIFIER:
        return KINDS[settings["kind"]](config)  # type: ignore[call-arg]
    how = settings[CLASSIFIER]
    return TransformerClassifier(config, len(how["labels"]), pooling=how["pooling"])


def _own_weights(model: Model) -> dict[str, Tensor]:
    """The model's tensors, those that share memory once, under the first of their names."""
    seen: set[tuple[Any, ...]] = set()
    weights = {}
    for name, tensor in model.state_dict().items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if place not in seen:
            weights[name] = tensor.detach()
        seen.add(place)
    return weights


def _read_weights(folder: Traversable, name: str | Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(folder.joinpath(WEIGHTS).read_bytes())
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{WEIGHTS} of {name} is missing or damaged ({error}); export it again") from error


def _load_strictly(model: Model, weights: Mapping[str, Tensor], name: str) -> None:
    own = _own_weights(model)
    missing, left_over = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    wrong = [n for n in own if n in weights and weights[n].shape != own[n].shape]
    require(
        not (missing or left_over or wrong),
        f"the weights of {name} do not fit its {CONFIG}: missing {missing}, left over {left_over}, wrong shape {wrong}",
    )
    with torch.no_grad():
        for tensor_name, tensor in own.items():  # these are the model's own, not copies
            tensor.copy_(weights[tensor_name])

"""Models that the project trained itself, with the package: small weights in float16, a configuration and a card."""

import json
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from companion.config import TransformerConfig
from companion.errors import require
from companion.models.bert import BERT
from companion.models.classifier import TransformerClassifier
from companion.models.gpt import GPT
from companion.models.pretrained_files import CARD, CLASSIFIER, CONFIG, WEIGHTS, find_pretrained, pretrained_settings

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
    require(kind in KINDS, f"{CONFIG} of {name_or_folder} says kind={kind!r}; expected one of {list(KINDS)}")
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
) -> Path:
    """Write weights (shared ones once), configuration and model card for :func:`load_pretrained`; the folder.

    Args:
        folder: made if it is not there.
        model: what to save.
        card: the model card, Markdown.
        dtype: what the weights are rounded to.
        about: more to say in the configuration file, under ``about``.
        classifier: of a classifier, what :meth:`companion.models.text_classifier.TextClassifier.settings` gives.
    """
    from safetensors.torch import save

    kind = next(kind for kind, cls in KINDS.items() if type(model) is cls)
    require(
        (classifier is not None) == (kind == CLASSIFIER),
        "a classifier, and nothing else, is saved with the names of its classes: TextClassifier.save",
    )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.to("cpu", dtype).contiguous() for name, tensor in _own_weights(model).items()}
    bad = [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]
    require(not bad, f"{bad} hold values that are not finite in {dtype}; choose another dtype")
    (folder / WEIGHTS).write_bytes(save(weights, metadata={"format": "pt"}))  # with the usual permissions
    settings: dict[str, Any] = {"kind": kind, "config": model.config.to_dict(), "about": about or {}}
    if classifier is not None:
        settings[CLASSIFIER] = classifier
    (folder / CONFIG).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8", newline="\n")
    (folder / CARD).write_text(card, encoding="utf-8", newline="\n")
    return folder


def _blank(name: str | Path, settings: Mapping[str, Any]) -> Model:
    """The model of these settings with any weights."""
    config = TransformerConfig.from_dict(settings["config"])
    if settings["kind"] != CLASSIFIER:
        return KINDS[settings["kind"]](config)  # type: ignore[call-arg]
    try:
        labels, pooling = settings[CLASSIFIER]["labels"], settings[CLASSIFIER]["pooling"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{CONFIG} of {name} is missing or damaged ({error!r}); export it again") from error
    return TransformerClassifier(config, len(labels), pooling=pooling)


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

"""Weights from Hugging Face's BERT, DistilBERT and GPT-2 into ours, and back. Strict: every name must be accounted for.

Only :func:`to_huggingface` needs ``transformers``; folders need ``safetensors``, and names ``huggingface_hub``.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from companion.errors import require
from companion.models.bert import BERT
from companion.models.gpt import GPT
from companion.models.huggingface import FAMILIES, TOKEN, config_from, config_to, family_named, weight_names

_HEADS = ("cls.", "vocab_", "lm_head")  # these never carry the prefix of the stack
_BUFFERS = re.compile(r"(^|\.)(position_ids|attn\.bias|attn\.masked_bias)$")  # of old versions; no weights
_TRANSPOSED = re.compile(r"\.(c_attn|c_proj|c_fc)\.weight$")  # GPT-2 stores (in, out), torch (out, in)
_FUSED = re.compile(r"^(.*attn)\.c_attn\.(weight|bias)$")  # GPT-2 stores query, key and value as one


def from_huggingface(model_or_folder: nn.Module | Path | str) -> BERT | GPT:
    """Our model with the weights of a Hugging Face BERT, DistilBERT or GPT-2, in evaluation mode.

    Args:
        model_or_folder: a model object of ``transformers``; a folder with ``config.json`` and safetensors files; or a
            name on the Hugging Face hub, such as ``"bert-base-uncased"`` or ``"gpt2"``, which is downloaded.

    Raises:
        ValueError: another architecture, an unknown setting, or weights missing or left over (it says which).
    """
    if isinstance(model_or_folder, nn.Module):
        config = getattr(model_or_folder, "config", None)
        require(
            hasattr(config, "to_dict") and hasattr(config, "model_type"),
            f"a {type(model_or_folder).__name__} is no Hugging Face model: it has no config with a model_type",
        )
        settings: dict[str, Any] = config.to_dict()  # type: ignore[union-attr]  # checked above
        return _assemble(settings, model_or_folder.state_dict())
    return _assemble(*_read_folder(_find_folder(model_or_folder)))


def to_huggingface(model: BERT | GPT) -> Any:
    """A ``transformers`` model with the weights of ours, in evaluation mode.

    A GPT becomes a ``GPT2LMHeadModel``, a BERT a ``BertForPreTraining``; without the next-sentence head a
    ``BertForMaskedLM``, and without segments, too, a ``DistilBertForMaskedLM``.

    Raises:
        ValueError: the model has a shape that those architectures cannot express (which fields are in the way).
    """
    import transformers

    config = model.config
    if isinstance(model, GPT):
        model_type = "gpt2"
    else:
        model_type = "bert" if config.n_segments or config.next_sentence else "distilbert"
    family = FAMILIES[model_type]
    settings = config_to(config, model_type)
    their_class = getattr(transformers, family.architectures[0 if config.next_sentence else 1])
    parameter = next(model.parameters())
    with torch.random.fork_rng(devices=[]):  # their random start is replaced below: it shall cost no random numbers
        theirs = their_class(
            their_class.config_class(bos_token_id=None, eos_token_id=None, pad_token_id=None, **settings)
        )
    theirs = theirs.to(parameter.device, parameter.dtype).eval()
    state, own = _taken_apart(theirs.state_dict(), model_type, tied=config.tied_head), model.state_dict()
    named = {their_name: own[name] for name, their_name in weight_names(config, model_type).items()}
    _require_same_names(named, state, model_type)
    theirs.load_state_dict(_put_together(named, theirs.state_dict(), model_type))
    return theirs


def _assemble(settings: Mapping[str, Any], state: Mapping[str, Tensor]) -> BERT | GPT:
    model_type = settings.get("model_type")
    family_named(model_type)
    state = _taken_apart(state, str(model_type), tied=settings.get("tie_word_embeddings", True))
    config = config_from(settings, next_sentence=any(name.startswith("cls.seq_relationship") for name in state))
    names = weight_names(config, str(model_type))
    _require_same_names(state, dict.fromkeys(names.values()), str(model_type))
    with torch.device("meta"):  # no memory and no random numbers for weights that are about to be replaced
        model = GPT(config) if model_type == "gpt2" else BERT(config)
    shapes = model.state_dict()
    wrong = {
        their_name: f"{tuple(state[their_name].shape)}, expected {tuple(shapes[name].shape)}"
        for name, their_name in names.items()
        if state[their_name].shape != shapes[name].shape
    }
    require(not wrong, f"weights of the wrong shape for this config: {wrong}")
    own = {name: state[their_name].detach().clone() for name, their_name in names.items()}
    tied = {name for name in shapes if name not in own}
    own |= dict.fromkeys(tied, own[f"{TOKEN}.weight"])
    model.load_state_dict(own, assign=True)
    model.tie_weights()
    return model.requires_grad_().eval()


def _taken_apart(state: Mapping[str, Tensor], model_type: str, *, tied: bool) -> dict[str, Tensor]:
    """Their weights, each once, without prefix, and GPT-2's as single (out, in) matrices."""
    family = FAMILIES[model_type]
    plain: dict[str, Tensor] = {}
    for name, tensor in state.items():
        name = name.removeprefix(family.prefix)
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        if _BUFFERS.search(name):
            continue
        if name == "cls.predictions.bias":  # the decoder's bias under a second name; without ties, a dead weight
            plain.setdefault("cls.predictions.decoder.bias", tensor)
            continue
        tensor = tensor.T if _TRANSPOSED.search(name) and model_type == "gpt2" else tensor
        fused = _FUSED.match(name)
        if fused:
            plain |= {f"{fused[1]}.{p}.{fused[2]}": t for p, t in zip("qkv", tensor.chunk(3), strict=True)}
        else:
            plain[name] = tensor
    decoder, token = f"{family.decoder[1]}.weight", f"{family.outside[TOKEN]}.weight"
    if tied and decoder in plain and token in plain:
        require(
            torch.equal(plain[decoder], plain[token]),
            f"the config says tie_word_embeddings, but {decoder} differs from {token}; set it to False to keep both",
        )
        del plain[decoder]
    return plain


def _put_together(named: Mapping[str, Tensor], template: Mapping[str, Tensor], model_type: str) -> dict[str, Tensor]:
    """The reverse of :func:`_taken_apart`: one entry for each name of the template."""
    family = FAMILIES[model_type]
    state = {}
    for name in template:
        plain = name.removeprefix(family.prefix)
        plain = "cls.predictions.decoder.bias" if plain == "cls.predictions.bias" else plain
        fused = _FUSED.match(plain)
        if fused:
            tensor = torch.cat([named[f"{fused[1]}.{p}.{fused[2]}"] for p in "qkv"])
        elif plain == f"{family.decoder[1]}.weight" and plain not in named:
            tensor = named[f"{family.outside[TOKEN]}.weight"]  # tied
        else:
            tensor = named[plain]
        state[name] = tensor.T if _TRANSPOSED.search(plain) and model_type == "gpt2" else tensor
    return state


def _require_same_names(got: Mapping[str, Any], expected: Mapping[str, Any], model_type: str) -> None:
    missing, left_over = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
    hint = ""
    if any(name.startswith(_HEADS) for name in missing):
        classes = " or ".join(dict.fromkeys(FAMILIES[model_type].architectures))
        hint = f"; the language-modeling head is missing: take the weights from a {classes}"
    require(
        not missing and not left_over,
        f"these are not the weights of this {model_type}: missing {missing}, left over {left_over}{hint}",
    )


def _find_folder(name: Path | str) -> Path:
    folder = Path(name)
    if folder.is_dir():
        return folder
    require(
        isinstance(name, str) and re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) is not None and not name.startswith("."),
        f"there is no folder {str(name)!r}; give a folder with config.json and safetensors files, or a name on the "
        "Hugging Face hub such as 'bert-base-uncased'",
    )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ValueError(f"no folder {name!r} here, and no huggingface_hub to download it: pip install it") from error
    return Path(snapshot_download(str(name), allow_patterns=["config.json", "model*.safetensors"]))


def _read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    require((folder / "config.json").is_file(), f"{folder} holds no config.json")
    files = sorted(folder.glob("*.safetensors"))
    require(
        bool(files),
        f"{folder} holds no .safetensors file; a pytorch_model.bin can be turned into one with save_pretrained()",
    )
    from safetensors.torch import load_file

    settings: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    state: dict[str, Tensor] = {}
    for file in files:
        state |= load_file(file)
    return settings, state

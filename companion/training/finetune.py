"""Fine-tuning: a pretrained model, labelled texts and a run file become a classifier.

>>> from companion.training.finetune_config import FineTuneRun
>>> run = FineTuneRun.from_dict(
...     {
...         "model": {"preset": "bert-book", "d_model": 16, "n_layers": 1, "d_ff": 16},
...         "data": {"source": "mini", "limit": 64, "length": 64},
...         "finetune": {"method": "scratch", "epochs": 1, "evaluations": 1},
...         "train": {},
...     }
... )
>>> tuner = build_finetuner(run)
>>> history = tuner.fit(progress=False)
>>> finetuned(run, tuner.state_dict()).predict(["A quiet film, and a good one."])[0].label in ("neg", "pos")
True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from companion.config import TransformerConfig
from companion.data.labelled import LabelledTexts, Part, read_labelled, split_validation
from companion.data.long_texts import Passages
from companion.data.sources import classification_stream
from companion.data.stream import Batch, BatchStream, derived_generator
from companion.data.tokenizer import BOOK, load_tokenizer
from companion.errors import require
from companion.models.bert import BERT
from companion.models.classifier import TransformerClassifier
from companion.models.pretrained import load_pretrained
from companion.models.pretrained_files import TOKENIZER
from companion.models.text_classifier import TOKENS_PER_BATCH, TextClassifier, mean_by_text
from companion.nn.lora import add_lora, merge_lora
from companion.training import distributed
from companion.training.checkpoint import checkpoints
from companion.training.compatibility import evaluation_run
from companion.training.finetune_config import FineTuneRun
from companion.training.finetuner import FeatureProbe, FineTuner, RowSource
from companion.training.objectives import Objective
from companion.training.run_folder import is_finetuning, load_run, load_state, read_run_folder, read_run_values

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass
class LabelledSplit:
    """The labelled texts of a run.

    Attributes:
        train: what it learns from.
        validation: what it is judged by meanwhile; None if nothing is held out.
    """

    train: LabelledTexts
    validation: LabelledTexts | None

    def digests(self) -> dict[str, str]:
        """One number for the texts and classes of each part: a training goes on with the same, and with no other."""
        parts = {"train": self.train, "validation": self.validation}
        return {name: data.digest() for name, data in parts.items() if data is not None}


def read_part(
    run: FineTuneRun, part: Part, *, source: str | None = None, limit: int = 0, trained: bool = False
) -> LabelledTexts:
    """The labelled texts that a run names, or those of another source with the same columns and classes.

    Texts to learn from must be of each class; texts that a ``trained`` classifier is tested on may lack some.
    """
    d = run.data
    return read_labelled(
        d.source if source is None else source,
        d.labels,
        part=part,
        text=d.text,
        label=d.label,
        limit=limit,
        seed=d.seed,
        trained=trained,
    )


def read_split(run: FineTuneRun, *, trained: bool = False) -> LabelledSplit:
    """The texts to train on, and those held out of them; ``trained`` as in :func:`read_part`."""
    data = read_part(run, "train", limit=run.data.limit, trained=trained)
    if not run.finetune.validation:
        return LabelledSplit(data, None)
    return LabelledSplit(*split_validation(data, run.finetune.validation, seed=run.data.seed))


def load_trunk(source: str) -> BERT:
    """The BERT that a run starts from: one that ships, an exported one, or the newest checkpoint of a pretraining.

    Raises:
        ValueError: there is no such model, or it is no BERT.
    """
    folder, way_out = Path(source), "a classifier starts from a BERT, which looks both ways, such as bert-book-imdb"
    started = bool(checkpoints(folder))
    require(
        not (started and is_finetuning(read_run_values(folder))), f"{source} is the run of a fine-tuning; {way_out}"
    )
    model = load_run(folder, read_run_folder(folder))[0] if started else load_pretrained(source)
    require(isinstance(model, BERT), f"{source} is a {type(model).__name__}; {way_out}")
    assert isinstance(model, BERT)
    return model


def build_classifier(run: FineTuneRun) -> TransformerClassifier:
    """The run's classifier before training, with what it does not train frozen; new weights follow from the run's seed.

    Raises:
        ValueError: the pretrained model does not fit, or reads fewer tokens than the run's ``length``.
    """
    m, seed, n_classes = run.model, run.train_config(1).seed, len(run.data.labels)
    scratch = run.finetune.method == "scratch"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if not m.pretrained:
            model = TransformerClassifier(m.config(), n_classes, pooling=m.pooling)
        else:
            bert = load_trunk(m.pretrained)
            torch.manual_seed(seed)  # loading may have drawn numbers
            if scratch:
                config = TransformerConfig.from_dict({**bert.config.to_dict(), **m.shape})
                model = TransformerClassifier(config, n_classes, pooling=m.pooling)
            else:
                model = TransformerClassifier.from_bert(bert, n_classes, pooling=m.pooling, **m.shape)
    require(
        run.data.length <= model.config.max_len,
        f"length={run.data.length}, but the model reads at most {model.config.max_len} tokens; lower data.length, or "
        "raise model.max_len where positions are rotary",
    )
    if run.finetune.method == "lora":
        _adapt(model, run)
    elif run.finetune.method == "probe":
        model.requires_grad_(False)
        model.head.requires_grad_()
    return model


def _adapt(model: TransformerClassifier, run: FineTuneRun) -> None:
    generator = derived_generator(run.train_config(1).seed, "lora")
    add_lora(model, rank=run.lora.rank, alpha=run.lora.alpha, targets=run.lora.targets, generator=generator)
    model.head.requires_grad_()


def build_finetuner(
    run: FineTuneRun,
    *,
    data: LabelledSplit | None = None,
    objective: Objective | None = None,
    device: torch.device | None = None,
) -> FineTuner:
    """Model, data and configuration, put together.

    Args:
        run: what to do.
        data: the texts; None = as the run says.
        objective: what is minimised; None = the cross-entropy with the labels.
        device: where to train; None = on the CPU.

    Raises:
        ValueError: the data, the model or the tokenizer are missing or do not fit together; the message says how.
    """
    require(distributed.world_size() == 1, "fine-tuning runs in one process; start it without torchrun")
    run.require_used()
    data = read_split(run) if data is None else data
    tokenizer = load_tokenizer(run.data.tokenizer)
    model = build_classifier(run).to(device or "cpu")
    size = tokenizer.get_vocab_size()
    require(
        size == model.config.vocab_size,
        f"the tokenizer {run.data.tokenizer!r} has {size} pieces, but the model has "
        f"vocab_size={model.config.vocab_size}; set data.tokenizer to the one that it was pretrained with",
    )
    _require_own_tokenizer(run, tokenizer)
    build = _probe_parts if run.finetune.method == "probe" else _text_parts
    module, stream, held_out = build(run, model, data, tokenizer)
    config = run.train_config(stream.batches_per_epoch)
    labels = torch.tensor([] if data.validation is None else data.validation.labels, dtype=torch.long)
    return FineTuner(
        module,
        stream,
        run,
        config,
        held_out=held_out,
        labels=labels,
        texts=data.digests(),
        objective=objective,
        device=device,
    )


def _require_own_tokenizer(run: FineTuneRun, tokenizer: Tokenizer) -> None:
    """Where it is known what a model was pretrained with, nothing else will do: other ids would mean other pieces.

    A model that ships, and an exported one without a tokenizer of its own, was pretrained with the book's.
    """
    name = run.model.pretrained
    if not name or run.finetune.method == "scratch":
        return
    started = bool(checkpoints(Path(name)))
    home = Path(read_run_folder(Path(name)).data.corpus) if started else Path(name)
    if (home / TOKENIZER).is_file():
        own, said, hint = load_tokenizer(home), f"the tokenizer in {home}", home.as_posix()
    elif started:
        return  # its corpus is not there to be asked
    else:
        own, said, hint = load_tokenizer(BOOK), "the book's tokenizer", BOOK
        if own.get_vocab_size() != tokenizer.get_vocab_size():
            return  # then it was not the book's, and which one it was nobody says
    require(
        own.get_vocab() == tokenizer.get_vocab(),
        f"{name} was pretrained with {said}, and this is another, {run.data.tokenizer!r}: --set data.tokenizer={hint}",
    )


_Parts = tuple[Any, BatchStream, list[Batch]]


def _text_parts(run: FineTuneRun, model: TransformerClassifier, data: LabelledSplit, tokenizer: Tokenizer) -> _Parts:
    d = run.data
    size = {"tokens_per_batch": d.tokens_per_batch} if d.tokens_per_batch else {"batch_size": _rows(run)}
    stream = classification_stream(
        data.train.texts, data.train.labels, tokenizer, max_len=d.length, keep=d.keep, seed=d.seed, **size
    )
    held_out = [] if data.validation is None else _batches(_passages(run, data.validation.texts, tokenizer))
    return model, stream, held_out


def _probe_parts(run: FineTuneRun, model: TransformerClassifier, data: LabelledSplit, tokenizer: Tokenizer) -> _Parts:
    """The features of all texts, averaged over windows, as the logits would be: the head is linear."""
    validation = [] if data.validation is None else data.validation.texts
    texts = [*data.train.texts, *validation]
    device = next(model.parameters()).device
    cut = _passages(run, texts, tokenizer)
    model.eval()
    table = mean_by_text(
        lambda batch: model.features(batch.ids, padding=batch.padding),
        _batches(cut),
        len(texts),
        kind=run.train_config(1).precision,
        device=device,
    )
    stream = BatchStream(RowSource(torch.tensor(data.train.labels), cut), batch_size=_rows(run), seed=run.data.seed)
    rows = torch.arange(len(validation))
    held_out = [Batch(len(data.train) + rows[:, None], rows=rows)] if validation else []
    return FeatureProbe(model.train(), table.to(device), cut.lengths), stream, held_out


def _rows(run: FineTuneRun) -> int:
    return run.train_config(1).batch_size


def _passages(run: FineTuneRun, texts: Sequence[str], tokenizer: Tokenizer) -> Passages:
    return Passages(texts, tokenizer, max_len=run.data.length, keep=run.data.reading)


def _batches(cut: Passages) -> list[Batch]:
    return cut.batches(TOKENS_PER_BATCH)


def finetuned(run: FineTuneRun, state: dict[str, Any]) -> TextClassifier:
    """The classifier in a fine-tuning's state: with its best weights, adapters merged, and their temperature."""
    config = TransformerConfig.from_dict(dict(state["model_config"]))
    with torch.random.fork_rng(devices=[]):
        model = TransformerClassifier(config, len(run.data.labels), pooling=run.model.pooling)
        if run.finetune.method == "lora":
            _adapt(model, run)
    best = state["best"]
    weights: dict[str, Tensor] = {**state["model"], **(state["average"] if best is None else best["model"])}
    model.load_state_dict({name.removeprefix("classifier."): tensor for name, tensor in weights.items()})
    if run.finetune.method == "lora":
        merge_lora(model)
    about = {"step": state["step"] if best is None else best["step"], "run": run.to_dict()}
    about |= {"texts": state["texts"]} if state.get("texts") else {}
    return TextClassifier(
        model.requires_grad_(True).eval(),
        load_tokenizer(run.data.tokenizer),
        run.data.labels,
        max_len=run.data.length,
        keep=run.data.reading,
        temperature=1.0 if best is None else best["temperature"],
        tokenizer_name=run.data.tokenizer,
        about=about,
    )


def load_finetuned(
    folder: str | Path, *, overrides: Sequence[str] = (), step: int | None = None
) -> tuple[TextClassifier, FineTuneRun, dict[str, Any]]:
    """The classifier in a run's folder, its configuration, and the newest checkpoint or that of ``step``.

    The overrides are those of an evaluation, see :func:`companion.training.compatibility.evaluation_run`.

    Raises:
        ValueError: the folder is not that of a fine-tuning, or damaged; an override would change the classifier.
    """
    folder = Path(folder)
    values = read_run_values(folder)
    require(is_finetuning(values), f"{folder} is the run of a pretraining; fine-tune it: companion finetune")
    state = load_state(folder, step)
    run = evaluation_run(values, overrides, longest=state["model_config"]["max_len"])
    return finetuned(run, state), run, state

r"""A network taught by a linear model: it learns what the teacher says of texts without labels, then the labels.

The teacher is logistic regression over n-grams, weighted by naive Bayes (:mod:`companion.experiments.imdb_linear`),
fitted to the labelled texts but those held out. Networks that were fine-tuned on the same texts may teach along with
it; their logits are then averaged. Of every unlabelled text the teachers say how likely each class is, and the network
learns these probabilities (Hinton et al. 2015, with their temperature at 1). Then it is fine-tuned on the labels, as
the recipe says, from the weights that it has reached. Letters in the shapes: B batch, N texts, C classes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from companion.config import Precision
from companion.data.imdb import pretraining_texts
from companion.data.labelled import IMDB, MINI, LabelledTexts
from companion.data.mini_reviews import mini_reviews
from companion.data.stream import Batch
from companion.errors import require
from companion.experiments.imdb_linear import LINEAR_MODELS, fit_linear
from companion.experiments.imdb_networks import train_in
from companion.models.text_classifier import TextClassifier
from companion.nn.losses import LossSum
from companion.training.calibration import fit_temperature
from companion.training.finetune import LabelledSplit, build_finetuner, load_finetuned, read_split
from companion.training.finetune_config import FineTuneRun
from companion.training.finetuner import FineTuner
from companion.training.objectives import Classification

HELD_OUT = 0.1
"""Share of the labels by which the teacher's regularization and its temperature are chosen."""
STAGES: Mapping[str, tuple[str, ...]] = {
    "taught": (
        "finetune.epochs=1",
        "finetune.evaluations=4",
        "data.length=256",
        "train.peak_lr=1e-3",
        "train.checkpoint_every=100",
    ),
    "tuned": ("finetune.epochs=1", "train.peak_lr=3e-4", "train.checkpoint_every=100"),
}
"""What each stage replaces in the recipe of fine-tuning: first the teacher's probabilities, then the labels."""


@dataclass(frozen=True)
class Taught:
    """Texts without labels, and what the teacher says of them.

    Attributes:
        texts: N of them.
        logits: (N, C), divided by the teacher's temperature; of several teachers the mean.
        about: ``accuracy`` on the texts that are held out from all; of several teachers also that of each one,
            ``linear_accuracy``, ``network_1_accuracy`` and so on; the linear model's ``temperature``.
    """

    texts: list[str]
    logits: Tensor
    about: dict[str, float]

    def labelled(self, names: Sequence[str]) -> LabelledTexts:
        """The texts with the class that the teacher thinks likeliest."""
        return LabelledTexts(
            self.texts, self.logits.argmax(dim=-1).tolist(), tuple(names), list(range(len(self.texts)))
        )


@dataclass(frozen=True, init=False)
class SoftClassification(Classification):
    r"""Cross-entropy with the teacher's probabilities: ``-Σ_c q_c log p_c``, summed over texts (Hinton et al. 2015).

    Where q is 1 for one class, this is :class:`companion.training.objectives.Classification`, by which held-out texts
    are judged.

    Args:
        logits: (N, C), the teacher's; ``batch.rows`` (B,) says which of them belong to a batch.

    Attributes:
        teacher: a digest of the logits, so that a training does not go on with another teacher's.
        q: the probabilities, (N, C).
    """

    teacher: str

    def __init__(self, logits: Tensor) -> None:
        digest = hashlib.sha256(logits.detach().cpu().float().numpy().tobytes()).hexdigest()
        object.__setattr__(self, "teacher", digest)
        object.__setattr__(self, "q", logits.float().softmax(dim=-1))

    def __call__(self, model: Any, batch: Batch) -> dict[str, LossSum]:
        """``classes``."""
        log_p = model(batch.ids, padding=batch.padding).float().log_softmax(dim=-1)  # (B, C)
        assert batch.rows is not None
        q: Tensor = self.q[batch.rows.cpu()].to(log_p.device)  # type: ignore[attr-defined]  # no field: see __init__
        loss = -(q * log_p).sum()
        return {"classes": LossSum(loss, torch.tensor(len(log_p)))}


def unlabelled_texts(source: str, data: LabelledSplit, *, seed: int = 0) -> list[str]:
    """Texts that nobody has labelled: none stands among the labelled ones, or in IMDB's test split.

    Of the mini reviews, which are written to order, as many new ones as there are labelled ones, by another seed than
    theirs.

    Raises:
        ValueError: the source is none of these two.
    """
    require(source in (IMDB, MINI), f"nobody knows texts without labels of {source}; take {IMDB} or {MINI}")
    labelled = {*data.train.texts, *([] if data.validation is None else data.validation.texts)}
    texts = pretraining_texts() if source == IMDB else mini_reviews(len(labelled), seed=seed + 1).texts
    return [text for text in dict.fromkeys(texts) if text not in labelled]


def teach(
    data: LabelledSplit, texts: list[str], networks: Sequence[TextClassifier] = (), *, kind: Precision | None = None
) -> Taught:
    """Fit the linear teacher to ``data.train``, and ask it about the texts, and the networks along with it.

    Args:
        data: what the linear model is fitted to, and what all teachers are judged by.
        texts: what they are asked about.
        networks: further teachers, see :func:`load_teacher`.
        kind: in which precision they are asked; None = each in the one that it was trained in.

    Raises:
        ValueError: nothing is held out.
    """
    import numpy as np

    require(data.validation is not None, "nothing is held out; set finetune.validation, by which both are judged")
    assert data.validation is not None
    order = np.random.default_rng(0).permutation(len(data.train))
    n = max(1, round(HELD_OUT * len(order)))
    linear = fit_linear(data.train, LINEAR_MODELS["nb"], [(order[n:], order[:n])])
    temperature = fit_temperature(*linear.held_out)

    def ask(asked: list[str]) -> list[Tensor]:
        said = [linear.decide(linear.vectorizer.transform(asked)).float() / temperature]
        said += [network.logits(asked, kind=kind or _precision(network)) / network.temperature for network in networks]
        return [logits - logits.mean(dim=-1, keepdim=True) for logits in said]

    classes = torch.tensor(data.validation.labels)

    def accuracy(logits: Tensor) -> float:
        return float((logits.argmax(dim=-1) == classes).double().mean())

    judged = ask(data.validation.texts)
    about = {"accuracy": accuracy(_mean(judged)), "temperature": temperature}
    if networks:
        names = ["linear", *(f"network_{i + 1}" for i in range(len(networks)))]
        about |= {f"{name}_accuracy": accuracy(logits) for name, logits in zip(names, judged, strict=True)}
    return Taught(texts, _mean(ask(texts)), about)


def load_teacher(folder: str | Path, data: LabelledSplit) -> TextClassifier:
    """A fine-tuned network that may teach: the texts held out in ``data`` were held out from it, too.

    Raises:
        ValueError: the folder is not that of a fine-tuning, or it held out other texts.
    """
    network, run, _ = load_finetuned(folder)
    theirs, ours = read_split(run).validation, data.validation
    require(
        theirs is not None and ours is not None and set(theirs.texts) == set(ours.texts),
        f"{folder} did not hold out the same texts, so it may have learned those by which its pupil is judged; "
        "fine-tune it with the same data.source, data.limit, data.seed and finetune.validation",
    )
    return network


def _mean(logits: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(logits)).mean(dim=0)


def _precision(network: TextClassifier) -> Precision:
    """The one that it was trained in."""
    return FineTuneRun.from_dict(network.about["run"]).train_config(1).precision


def taught_once(data: LabelledSplit, texts: list[str], file: Path, networks: Sequence[TextClassifier] = ()) -> Taught:
    """:func:`teach`, or what an earlier call has left in the file, if it was about the same texts, labels, networks."""
    digest = hashlib.sha256()
    for part in (texts, data.train.texts, data.train.labels):
        digest.update(json.dumps(part).encode())
    for network in networks:
        for tensor in network.model.state_dict().values():
            digest.update(tensor.cpu().numpy().tobytes())
    key = digest.hexdigest()
    if file.is_file():
        kept = torch.load(file, weights_only=True)
        if kept["key"] == key:
            return Taught(texts, kept["logits"], kept["about"])
    taught = teach(data, texts, networks)
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"key": key, "logits": taught.logits, "about": taught.about}, beside := file.with_suffix(".new"))
    beside.replace(file)
    return taught


def teach_network(
    run: FineTuneRun,
    taught: Taught,
    data: LabelledSplit,
    folder: Path,
    *,
    hard: bool = False,
    device: torch.device | None = None,
) -> FineTuner:
    """The first stage: what the teacher says of all texts, judged by the labelled texts held out.

    Args:
        run: how.
        taught: texts and teacher.
        data: whose held-out texts judge.
        folder: of the checkpoints.
        hard: learn the likelier class of each text alone, a pseudo-label (Lee 2013), and not its probability.
        device: where to train; None = on the CPU.
    """
    stage = LabelledSplit(taught.labelled(run.data.labels), data.validation)
    objective = None if hard else SoftClassification(taught.logits)
    tuner = build_finetuner(run, data=stage, objective=objective, device=device)
    train_in(folder, tuner)
    return tuner


def tune_network(
    run: FineTuneRun, before: FineTuner, data: LabelledSplit, folder: Path, *, device: torch.device | None = None
) -> FineTuner:
    """The second stage: the labels, from the last weights of the first one, head included.

    Raises:
        ValueError: the folder has a training that began at other weights.
    """
    tuner = build_finetuner(run, data=data, device=device)
    start = before.model.state_dict()
    tuner.model.load_state_dict(start)
    digest = hashlib.sha256()
    for tensor in start.values():
        digest.update(tensor.detach().cpu().numpy().tobytes())
    tuner.texts["start"] = digest.hexdigest()
    try:
        train_in(folder, tuner)
    except ValueError as error:
        raise ValueError(f"{folder} holds a second stage of other settings or another first stage: {error}") from error
    return tuner

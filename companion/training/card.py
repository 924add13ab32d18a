"""The model card of a trained model (Mitchell et al. 2019): what it is, how it came about, what it cannot do."""

from typing import Any

from torch import nn

from companion.data.labelled import IMDB, MINI, SENTIMENT
from companion.models.text_classifier import TextClassifier
from companion.training.finetune_config import FineTuneRun
from companion.training.runfile import RunConfig

_LIMITS = """\
- It is tiny and saw one kind of text{kind}. It knows little of anything else.
- It repeats what its texts say, prejudice included; nothing was filtered. Use it to learn from, not to judge people.
- It reads lower-case text without accents, {length} tokens at a time in training; longer inputs, up to {max_len},
  work less well.
- {more}
"""
_MORE = {
    "mlm": "Its vectors are not sentence embeddings, and it does not write text; fine-tune it for a task.",
    "lm": "It writes sentences that sound like its texts and mean little. Whatever it states is made up.",
}


def model_card(name: str, run: RunConfig, model: nn.Module, *, step: int, record: dict[str, Any] | None) -> str:
    """Markdown.

    Args:
        name: the model's.
        run: how it was trained.
        model: what was trained.
        step: updates that were made.
        record: of the run, from :func:`companion.training.record.summary`; without it the card has no figures.
    """
    n = sum(p.numel() for p in model.parameters())
    m = run.model
    parts = [
        f"# {name}",
        f"{n:,} parameters: {_task(run)}. {m.n_layers} blocks, width {m.d_model}, {m.n_heads} heads, "
        f"{m.position} positions, a vocabulary of {m.vocab_size:,} word pieces. Weights in float16.",
        f'```python\nfrom companion import load_pretrained\n\nmodel = load_pretrained("{name}")\n```',
        "## How it was trained",
        *_training(run, step, record),
        "## What it cannot do",
        _LIMITS.format(
            kind=_kind(record), length=run.data.length, max_len=m.max_len, more=_MORE[run.objective.task]
        ).rstrip(),
    ]
    return "\n\n".join(parts) + "\n"


def _task(run: RunConfig) -> str:
    """What the model is, and what it learned."""
    if run.objective.task == "lm":
        return "a GPT (Radford et al. 2019), trained to predict the next token"
    second = " and on next-sentence prediction" if run.model.next_sentence else ""
    return f"a BERT (Devlin et al. 2019) in {run.model.norm}-norm form, trained on masked words{second}"


def _kind(record: dict[str, Any] | None) -> str:
    """What is known of the texts."""
    imdb = record is not None and record["corpus"]["source"] == "imdb"
    return ": English film reviews from before 2011" if imdb else ""


def _training(run: RunConfig, step: int, record: dict[str, Any] | None) -> list[str]:
    t = run.train
    how = (
        f"{step:,} steps of {t.grad_accum_steps * run.data.tokens_per_batch:,} tokens in rows of {run.data.length}; "
        f"AdamW with a peak rate of {t.peak_lr:g}, {t.warmup_steps} steps of warm-up, schedule {t.schedule}, weight "
        f"decay {t.weight_decay:g}, dropout {run.model.dropout:g}, precision {t.precision}, seed {t.seed}."
    )
    if record is None:
        return [how]
    machine, corpus = record["machine"], record["corpus"]
    data = (
        f"Data: {corpus['train']['documents']:,} texts, {corpus['train']['tokens']:,} tokens; "
        f"{corpus['held-out']['documents']:,} more texts were held out."
    )
    cost = (
        f"{record['tokens']:,} tokens in {record['seconds'] / 3600:.1f} hours, {record['tokens_per_second']:,.0f} "
        f"tokens/s, with {machine['threads']} thread(s) of {machine['kind']} ({machine['device']}), {record['date']}."
    )
    return [data, how, cost, _table(record)]


def _table(record: dict[str, Any]) -> str:
    """Losses of the last steps, and of the held-out part: all of it if it was evaluated since."""
    final, whole = record["final"], record.get("evaluation")
    held_out = whole or final["held_out"] or {}
    rows = [
        f"| {name} | {final['train'].get(name, '')} | {value} |"
        for name, value in held_out.items()
        if isinstance(value, float)
    ]
    head = "held out" if whole is None else f"held out, {whole['held_out_tokens']:,} tokens"
    return "\n".join([f"| | training (mean of the last steps) | {head} |", "|---|---|---|", *rows])


_METHODS = {
    "full": "all of its weights fine-tuned",
    "probe": "only its head trained, on frozen features",
    "lora": "fine-tuned by low-rank adapters (Hu et al. 2021), which are merged into the weights",
    "scratch": "trained from random weights",
}
_SOURCES = {IMDB: "English film reviews from before 2011", MINI: "the book's mini reviews"}
_READS = {"head": "its head", "tail": "its tail", "both": "its head and its tail", "windows": "all of it, in windows"}


def classifier_card(name: str, run: FineTuneRun, classifier: TextClassifier, *, record: dict[str, Any] | None) -> str:
    """Markdown.

    Args:
        name: the classifier's.
        run: how it was fine-tuned.
        classifier: what came out.
        record: of the run, from :func:`companion.training.finetune_record.finetune_summary`; without it the card has
            no figures.
    """
    model, m = classifier.model, classifier.model.config
    kind = _SOURCES.get(run.data.source, "one kind of text")
    begins = "has the shape of" if run.finetune.method == "scratch" else "starts from"
    origin = f" It {begins} {run.model.pretrained}." if run.model.pretrained else ""
    parts = [
        f"# {name}",
        f"{sum(p.numel() for p in model.parameters()):,} parameters: a Transformer that sorts a text into "
        f"{', '.join(classifier.labels)}, {_METHODS[run.finetune.method]}.{origin} {m.n_layers} blocks, width "
        f"{m.d_model}, {m.n_heads} heads, {m.position} positions, {model.pooling} pooling. Weights in float16.",
        f'```python\nfrom companion import load_classifier\n\nclassifier = load_classifier("{name}")\n'
        'classifier.predict(["A quiet film, and a good one."])\n```',
        "## How it was trained",
        *_finetuning(run, classifier, record),
        "## What it cannot do",
        f"- It is tiny and learned its classes from {kind}. It knows little else, and answers all the same.\n"
        "- Its texts' prejudices are in it; nothing was filtered. Use it to learn from, not to judge people.\n"
        f"- It reads lower-case text without accents, {classifier.max_len} tokens at a time; of a longer text "
        f"{_READS[classifier.keep]}.\n"
        f"{_negation(classifier)}"
        "- Irony, quotations and talk about another film mislead it.",
    ]
    return "\n\n".join(parts) + "\n"


_PRAISE = (
    "Not bad at all.",
    "It is not dull but gripping.",
    "I was never bored.",
    "There is nothing wrong with this film.",
    "Not a dull minute in it.",
    "This is not a bad film.",
    "No scene is wasted.",
    "You will not regret it.",
)
"""Each praises a film by denying something bad."""


def _negation(classifier: TextClassifier) -> str:
    """Where the classes are those of reviews, what the classifier makes of praise that denies something bad."""
    if classifier.labels != SENTIMENT:
        return ""
    missed = [text for text, said in zip(_PRAISE, classifier.predict(_PRAISE), strict=True) if said.label == "neg"]
    if not missed:
        return ""
    how = "mostly misses" if 2 * len(missed) > len(_PRAISE) else "may miss"
    return (
        f"- It {how} praise by negation: of {len(_PRAISE)} sentences that praise a film by denying something bad, it "
        f'calls {len(missed)} neg, such as "{missed[0]}"\n'
    )


def _finetuning(run: FineTuneRun, classifier: TextClassifier, record: dict[str, Any] | None) -> list[str]:
    t, f = run.train_config(1), run.finetune
    how = (
        f"Method {f.method}, the weights of step {classifier.about['step']:,}; AdamW with a peak rate of "
        f"{t.peak_lr:g}, schedule {t.schedule}, layer decay {f.layer_decay:g}, weight decay {t.weight_decay:g}, "
        f"dropout {classifier.model.config.dropout:g}, precision {t.precision}, seed {t.seed}; temperature "
        f"{classifier.temperature:.3f}."
    )
    if record is None:
        return [how]
    machine, data = record["machine"], record["data"]
    held_out = 0 if data["validation"] is None else data["validation"]["texts"]
    cost = (
        f"Data: {data['train']['texts']:,} labelled texts, and {held_out:,} held out. {record['trained']:,} parameters "
        f"were trained for {record['steps']:,} steps, {record['seconds'] / 60:.0f} minutes, with {machine['threads']} "
        f"thread(s) of {machine['kind']} ({machine['device']}), {record['date']}."
    )
    return [*_teaching(record), how, cost, *_class_table(record)]


def _teaching(record: dict[str, Any]) -> list[str]:
    """What a network learned from a teacher before its labels; see :mod:`companion.experiments.distillation`."""
    if "taught" not in record:
        return []
    t = record["taught"]
    networks = t["teacher"].count("+")
    alone = networks == 0
    others = "a fine-tuned network" if networks == 1 else f"{networks} fine-tuned networks"
    who = "a linear model said" if alone else f"a linear model and {others} said, averaged,"
    teachers = "That teacher" if alone else "The linear model is"
    targets = {"classes": ", the likelier class", "probabilities": ", how likely each class is"}
    what = targets.get(t.get("targets"), "")  # an older record does not say
    return [
        f"It is distilled (Hinton et al. 2015). First it learned what {who} of {t['texts']:,} texts without "
        f"labels{what}: {t['steps']:,} steps, {t['seconds'] / 60:.0f} minutes. {teachers}{',' if alone else ''} "
        f"logistic regression over n-grams weighted by naive Bayes{', is' if alone else '; together they are'} right "
        f"in {t['teacher_accuracy']:.1%} of the texts held out. Then the labels, from where it stood:",
    ]


def _class_table(record: dict[str, Any]) -> list[str]:
    """Accuracy, loss and calibration on the held-out texts, and on the test split if it was evaluated since.

    The loss in training is without the temperature, that of an evaluation with it: each stands in a row of its own.
    """
    best = record["best"]
    test = {"calibrated_loss" if k == "loss" else k: v for k, v in (record.get("evaluation") or {}).items()}
    held_out = {} if best is None else {**best["scores"], "ece": best["ece"], "calibrated_ece": best["calibrated_ece"]}
    names = dict.fromkeys([*held_out, *(k for k, v in test.items() if isinstance(v, float) and k != "temperature")])
    if not names:
        return []
    rows = [f"| {name} | {held_out.get(name, '')} | {test.get(name, '')} |" for name in names]
    head = f"{test['data']}, {test['split']}, {test['texts']:,} texts" if test else "not evaluated yet"
    return ["\n".join([f"| | held out in training | {head} |", "|---|---|---|", *rows])]

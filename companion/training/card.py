"""The model card of a trained model (Mitchell et al. 2019): what it is, how it came about, what it cannot do."""

from typing import Any

from torch import nn

from companion.training.runfile import RunConfig

_TASKS = {
    "mlm": "a BERT (Devlin et al. 2019) in pre-norm form, trained on masked words and on next-sentence prediction",
    "lm": "a GPT (Radford et al. 2019), trained to predict the next token",
}
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
        f"{n:,} parameters: {_TASKS[run.objective.task]}. {m.n_layers} blocks, width {m.d_model}, {m.n_heads} heads, "
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

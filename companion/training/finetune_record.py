"""The record of a fine-tuning, for the book."""

import json
from datetime import UTC, datetime
from typing import Any

from companion.data.labelled import LabelledTexts
from companion.data.stream import BatchStream
from companion.training.finetune import LabelledSplit
from companion.training.finetuner import FineTuner
from companion.training.operations import finetuning_operations
from companion.training.record import NO_LOSS, curve, machine_class


def finetune_summary(tuner: FineTuner, data: LabelledSplit, *, command: str) -> dict[str, Any]:
    """What was done, on what kind of machine, the curves, and what was best, ready for ``book/results``.

    ``seconds`` are those of the training steps: evaluations and, of a probe, its features are not in them. ``trained``
    counts the parameters that were; ``operations`` see :mod:`companion.training.operations`.
    """
    run, history, stream = tuner.run, tuner.history, tuner.stream
    tokens, seconds = sum(r["tokens"] for r in history), sum(r["seconds"] for r in history)
    parameters = list(tuner.model.parameters())
    best = None if tuner.best is None else {k: v for k, v in tuner.best.items() if k != "model"}
    terms = [k for k in history[-1] if k not in NO_LOSS and not k.startswith("valid_")]
    return {
        "command": command,
        "config": json.loads(json.dumps(run.to_dict())),  # as it will read back: lists, not tuples
        "machine": machine_class(run.machine),
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(seconds, 1),
        "steps": len(history),
        "planned_steps": tuner.config.max_steps,
        "tokens": int(tokens),
        "tokens_per_second": round(tokens / seconds, 1),
        "parameters": sum(p.numel() for p in parameters),
        "trained": sum(p.numel() for p in parameters if p.requires_grad),
        "operations": finetuning_operations(tuner),
        "data": {
            "source": run.data.source,
            "train": _facts(data.train),
            "validation": None if data.validation is None else _facts(data.validation),
            "skipped": data.train.skipped,
        },
        "real_share": round(stream.real_share, 5) if isinstance(stream, BatchStream) else None,
        "train": curve(history, terms),
        "held_out": [
            {"step": int(r["step"]), **{k.removeprefix("valid_"): round(r[k], 4) for k in r if k.startswith("valid_")}}
            for r in history
            if "valid_loss" in r
        ],
        "best": None if best is None else _rounded(best),
    }


def _facts(data: LabelledTexts) -> dict[str, Any]:
    return {"texts": len(data), **data.counts}


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers to four places, inside too."""
    return {
        k: _rounded(v) if isinstance(v, dict) else round(v, 4) if isinstance(v, float) else v for k, v in values.items()
    }

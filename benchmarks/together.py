"""Are the classifier that ships and the word counter better together? Their logits, averaged.

    python -m benchmarks.together

writes book/results/together.json. The word counter is fitted to the reviews that the classifier's own training learned
from. Both are divided by their temperatures, and judged by the reviews that were held out from both; then the two
together read the test split, once.
"""

import argparse
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from companion.data.labelled import read_labelled
from companion.errors import require
from companion.experiments.distillation import teach
from companion.models.text_classifier import load_classifier
from companion.runtime import keep_memory
from companion.training.finetune import read_split
from companion.training.finetune_config import FineTuneRun
from companion.training.record import machine_class, write_record
from companion.training.runfile import MachineConfig
from companion.training.scores import data_scores, surest_errors

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "book" / "results" / "together.json"
MODEL = "imdb-classifier"


def main(arguments: Sequence[str] | None = None) -> None:
    """Record it, if it is not there.

    Raises:
        ValueError: it is there already, or the classifier was not fine-tuned by ``companion``.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.together", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=MODEL, help=f"a classifier's name or folder (default: {MODEL})")
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE", help="the record")
    options = parser.parse_args(arguments)
    require(not options.out.exists(), f"{options.out} is there; move it away to measure it anew")
    of_another = "" if options.model == MODEL else f" --model {options.model}"
    record = {"command": f"python -m benchmarks.together{of_another}", **together(options.model)}
    write_record(options.out, record)
    held_out, tested = record["held_out"], record["evaluation"]
    print(f"held out {held_out['accuracy']:.2%}, test {tested['accuracy']:.2%}; recorded in {options.out}")


def together(model: str) -> dict[str, Any]:
    """What the two are worth on the reviews held out, alone and together, and together on the test."""
    keep_memory()
    torch.set_num_threads(1)
    began = time.process_time()
    classifier = load_classifier(model)
    require("run" in classifier.about, f"{model} does not say how it was trained, so its data are not known")
    run = FineTuneRun.from_dict(classifier.about["run"])
    data, test = read_split(run), read_labelled(run.data.source, part="test")
    taught = teach(data, test.texts, [classifier], kind="fp32")
    scores = data_scores(taught.logits, test, source=run.data.source, part="test")
    wrong = surest_errors(taught.logits, torch.tensor(test.labels), test.rows)
    return {
        "config": {"model": model, "linear": "nb", "run": run.to_dict()},
        "machine": machine_class(MachineConfig(threads=1)),
        "date": datetime.now(UTC).date().isoformat(),
        "processor_seconds": round(time.process_time() - began, 1),
        "held_out": {name: round(value, 4) for name, value in taught.about.items()},
        "evaluation": {**{name: round(value, 4) for name, value in scores.items()}, "wrong_rows": wrong},
    }


if __name__ == "__main__":
    main()

"""What should be read of a long review? The shipped classifier on its held-out reviews, by policy and length.

    python -m benchmarks.long_reviews

writes book/results/long_reviews.json, one cell (length, keep) after the other, and goes on where it was interrupted.
The reviews are the tenth of IMDB's training split that the classifier's own training held out: the test is not touched.
The classifier was trained with ``keep`` = "both" at 512 tokens; nothing is trained here.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from companion.data.labelled import read_labelled, split_validation
from companion.data.tokenizer import encode_texts
from companion.experiments.results import Record
from companion.models.text_classifier import load_classifier
from companion.runtime import keep_memory

RESULT = Path(__file__).resolve().parents[1] / "book" / "results" / "long_reviews.json"
CONFIG: dict[str, Any] = {
    "classifier": "imdb-classifier",
    "validation": 0.1,
    "seed": 0,
    "lengths": [128, 256, 512],
    "keeps": ["head", "tail", "both", "windows"],
}


def main(result: Path = RESULT, config: dict[str, Any] | None = None, source: str = "imdb") -> None:
    """Record what is missing."""
    config = config or CONFIG
    record = Record(result, command="python -m benchmarks.long_reviews", config=config)
    classifier = load_classifier(config["classifier"])
    _, held_out = split_validation(read_labelled(source), config["validation"], seed=config["seed"])
    labels = torch.tensor(held_out.labels)
    sizes = torch.tensor([len(ids) + 2 for ids in encode_texts(held_out.texts, classifier.tokenizer)])
    keep_memory()
    torch.set_num_threads(1)
    for length in config["lengths"]:
        long = sizes > length
        for keep in config["keeps"]:
            if record.has(length=length, keep=keep):
                continue
            began = time.process_time()
            reader = replace(classifier, max_len=length, keep=keep)
            right = reader.logits(held_out.texts).argmax(dim=-1) == labels
            values = {
                "accuracy": float(right.double().mean()),
                "accuracy_of_long": float(right[long].double().mean()) if bool(long.any()) else None,
                "texts": len(labels),
                "long": int(long.sum()),
                "processor_seconds": round(time.process_time() - began, 1),
            }
            record.add({"length": length, "keep": keep}, values)
            print(f"{length} tokens, {keep}: {values}", flush=True)


if __name__ == "__main__":
    main()

"""Compute what the figures of the book's own models show, from a training run and its saved steps.

    python book/tools/widget_data.py runs/bert-book-imdb
    python book/tools/widget_data.py --classifier imdb-classifier

The first writes masked_word_lab.json and head_explorer.json into companion/assets, the second saliency_lab.json, of a
classifier that ships or that `companion export` wrote; `--classifier stand-in` fine-tunes bert-book-imdb on mini
reviews first. The sentences are our own; no text of a data set is stored.
"""

import argparse
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from companion.data.labelled import MINI, SENTIMENT, LabelledTexts, split_validation
from companion.data.mini_reviews import draw_reviews
from companion.data.mini_reviews_grammar import grammar
from companion.data.tokenizer import load_tokenizer
from companion.models.bert import BERT
from companion.models.pretrained import load_pretrained
from companion.models.text_classifier import TextClassifier, load_classifier
from companion.training.checkpoint import checkpoints
from companion.training.finetune import LabelledSplit, build_finetuner, finetuned
from companion.training.finetune_config import FineTuneRun
from companion.training.run_folder import load_run, read_run_folder
from companion.widgets.head_maps import maps_data
from companion.widgets.masked_word_data import lab_data
from companion.widgets.saliency_data import saliency_data

ASSETS = Path(__file__).resolve().parents[2] / "companion" / "assets"
SENTENCES = {
    "The acting is wonderful, but the story is far too long.": "acting wonderful but story far too long",
    "I expected a great film and was bored from the first scene.": "expected great film was bored first",
    "She plays a young woman who moves to the big city.": "plays young woman who to big city",
}
LOOKS = (
    "The film was not good, but the music was.",
    "She said that he had never seen the sea.",
    "The actors are wonderful and the story is moving.",
)
JUDGED = (
    "The film is not good, but the music is wonderful.",
    "I expected a dull film and got a gripping one.",
    "This is not a bad film at all.",
)
SAVED_STEPS = 9
NAME, STAND_IN = "bert-book-imdb", "stand-in"
CURVE_POINTS = 100


def chosen_steps(run: Path) -> list[int]:
    """The first saved step, the last one, and others between, in growing distances."""
    config = read_run_folder(run).train
    there = sorted(int(path.name.removeprefix("step-")) for path in checkpoints(run))
    kept = [step for step in there if step in config.snapshots or step == there[-1]]
    while len(kept) > SAVED_STEPS:  # drop the one that is nearest, by ratio, to the one before it
        ratios = [(kept[i] / max(1, kept[i - 1]), i) for i in range(2, len(kept) - 1)]
        del kept[min(ratios)[1]]
    return kept


def shipped(step: int) -> BERT:
    """The model in the package, which must be that of the run's last step: what it shows is what a reader computes."""
    model = load_pretrained(NAME)
    settings = json.loads((ASSETS / NAME / "config.json").read_text(encoding="utf-8"))
    assert isinstance(model, BERT) and settings["about"]["step"] == step, f"export step {step} of the run first"
    return model


def stand_in() -> TextClassifier:
    """A classifier for as long as none ships: bert-book-imdb, fine-tuned on mini reviews; the same every time.

    Nine in ten of them say one thing only, so that a minute is enough for the words that judge.
    """
    values: dict[str, dict[str, Any]] = {
        "model": {"pretrained": NAME, "dropout": 0.1},
        "data": {"source": MINI, "length": 128, "seed": 0},
        "finetune": {"epochs": 2, "warmup": 0.1, "validation": 0.1, "evaluations": 1, "head_rate": 3.0},
        "train": {"batch_size": 16, "peak_lr": 5e-4, "seed": 0},
    }
    run = FineTuneRun.from_dict(values)
    reviews = draw_reviews(replace(grammar("train"), plain=0.9), 1500, generator=random.Random(0))
    texts = LabelledTexts(reviews.texts, reviews.labels, SENTIMENT, list(range(len(reviews))))
    tuner = build_finetuner(run, data=LabelledSplit(*split_validation(texts, run.finetune.validation, seed=0)))
    tuner.fit()
    print(f"stand-in: {tuner.best and tuner.best['scores']} on held-out mini reviews")
    return finetuned(run, tuner.state_dict())


def write_saliency(name: str) -> None:
    """The saliency lab's data of one classifier, by its name or folder."""
    classifier = stand_in() if name == STAND_IN else load_classifier(name)
    called = f"{NAME}, fine-tuned on mini reviews" if name == STAND_IN else Path(name).name
    data = saliency_data(classifier, JUDGED, name=called)
    for row in data["sentences"]:
        print(f"{' '.join(row['words'])}: F = {row['zero']['ends'][0]:.4f}")
    write("saliency_lab.json", data)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("run", type=Path, nargs="?", help="a folder that companion pretrain wrote")
    what.add_argument("--classifier", help=f"a classifier's name or folder, or {STAND_IN}")
    arguments = parser.parse_args(argv)
    if arguments.classifier:
        write_saliency(arguments.classifier)
    else:
        write_pretraining(arguments.run)
    return 0


def write_pretraining(run: Path) -> None:
    """The data of the figures that show the pretrained model."""
    config = read_run_folder(run)
    models: dict[int, BERT] = {}
    for step in chosen_steps(run):
        model, state = load_run(run, config, step)
        assert isinstance(model, BERT), f"{run} is not a run of masked language modeling"
        models[step] = model
    models[max(models)] = shipped(max(models))
    history = state["history"]
    width = max(1, len(history) // CURVE_POINTS)
    parts = [history[:1], *(history[i : i + width] for i in range(1, len(history), width))]
    curve = {"step": [p[-1]["step"] for p in parts], "loss": [sum(r["mlm"] for r in p) / len(p) for p in parts]}
    data = lab_data(
        models, load_tokenizer(), list(SENTENCES), curve=curve, gaps=[words.split() for words in SENTENCES.values()]
    )
    print(f"steps {data['steps']}")
    write("masked_word_lab.json", data)
    write("head_explorer.json", maps_data(models[max(models)], load_tokenizer(), LOOKS))


def write(name: str, data: dict[str, Any]) -> None:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    (ASSETS / name).write_text(text + "\n", encoding="utf-8", newline="\n")
    print(f"{name}: {len(text) / 1000:.0f} KB")


if __name__ == "__main__":
    raise SystemExit(main())

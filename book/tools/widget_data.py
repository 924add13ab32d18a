"""Compute what the figures of the book's own models show, from a training run and its saved steps.

    python book/tools/widget_data.py runs/bert-book-imdb

writes masked_word_lab.json and head_explorer.json into companion/assets. The sentences are our own; no text of a data
set is stored.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from companion.data.tokenizer import load_tokenizer
from companion.models.bert import BERT
from companion.models.pretrained import load_pretrained
from companion.training.checkpoint import checkpoints
from companion.training.run_folder import load_run, read_run_folder
from companion.widgets.head_maps import maps_data
from companion.widgets.masked_word_data import lab_data

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
SAVED_STEPS = 9
NAME = "bert-book-imdb"
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


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a folder that companion pretrain wrote")
    run = parser.parse_args(argv).run
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
    return 0


def write(name: str, data: dict[str, Any]) -> None:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    (ASSETS / name).write_text(text + "\n", encoding="utf-8", newline="\n")
    print(f"{name}: {len(text) / 1000:.0f} KB")


if __name__ == "__main__":
    raise SystemExit(main())

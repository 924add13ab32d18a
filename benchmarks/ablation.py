"""What each part of the Transformer is good for: the same small causal model, with one part removed in every block.

    python benchmarks/ablation.py

writes book/results/ablation.json, one cell (part, number of blocks, learning rate, seed) after the other. It goes on
where it was interrupted; move the file away to begin anew.
"""

import math
import random
from pathlib import Path

from tqdm import tqdm

from companion.data.agreement import agreement_texts
from companion.experiments.agreement import PARTS, model_without, score_agreement, train_on_agreement
from companion.experiments.results import Record

RESULT = Path(__file__).resolve().parents[1] / "book" / "results" / "ablation.json"
CONFIG = {
    "length": 32,
    "steps": 400,
    "batch_size": 32,
    "peak_lr": 3e-3,
    "high_lr": 2e-2,
    "deep_layers": 12,
    "test_words": 32_768,
    "test_seed": 1_000_003,
    "model": model_without("nothing", seed=0).config.to_dict(),
}
SEEDS = (0, 1, 2)


def main() -> None:
    """Record what is missing."""
    record = Record(RESULT, command="python benchmarks/ablation.py", config=CONFIG)
    texts = agreement_texts(
        CONFIG["test_words"] // CONFIG["length"], CONFIG["length"], generator=random.Random(CONFIG["test_seed"])
    )
    layers, rate = CONFIG["model"]["n_layers"], CONFIG["peak_lr"]
    settings = [(part, layers, rate) for part in PARTS]
    # Is normalization needed where training is harder, with a higher rate or in a deeper stack?
    settings += [(part, layers, CONFIG["high_lr"]) for part in ("nothing", "normalization")]
    settings += [(part, CONFIG["deep_layers"], rate) for part in ("nothing", "normalization")]
    for seed, (part, layers, rate) in tqdm([(seed, setting) for seed in SEEDS for setting in settings]):
        key = {"part": part, "layers": layers, "rate": rate, "seed": seed}
        if record.has(**key):
            continue
        model = model_without(part, seed=seed, max_len=CONFIG["length"], n_layers=layers)
        losses = train_on_agreement(
            model,
            steps=CONFIG["steps"],
            length=CONFIG["length"],
            batch_size=CONFIG["batch_size"],
            peak_lr=rate,
            seed=seed,
        )
        (score,) = score_agreement(model, texts)
        finite = math.isfinite(score.loss)
        values = {"accuracy": score.accuracy, "loss": score.loss if finite else None, "verbs": score.verbs}
        values["parameters"] = sum(p.numel() for p in model.parameters())
        values["losses"] = [round(x, 4) if math.isfinite(x) else None for x in losses[9::10]]
        record.add(key, values)


if __name__ == "__main__":
    main()

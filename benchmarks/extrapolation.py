"""Length extrapolation: one small causal model with each positional scheme, trained short, tested up to 8 times longer.

    python benchmarks/extrapolation.py

writes book/results/extrapolation.json, one cell (scheme, seed) after the other. It goes on where it was interrupted;
move the file away to begin anew. Every model is tested on the same texts, drawn with a seed that no training uses.
"""

import random
from pathlib import Path

from tqdm import tqdm

from companion.data.agreement import agreement_texts
from companion.experiments.agreement import SCHEMES, agreement_model, score_agreement, train_on_agreement
from companion.experiments.results import Record

RESULT = Path(__file__).resolve().parents[1] / "book" / "results" / "extrapolation.json"
CONFIG = {
    "length": 32,
    "times": [1, 2, 4, 8],
    "steps": 600,
    "batch_size": 64,
    "peak_lr": 3e-3,
    "test_words": 32_768,
    "test_seed": 1_000_003,
    "model": agreement_model("none", seed=0, max_len=256).config.to_dict(),
}
SEEDS = (0, 1, 2)


def test_texts(times: int, kind: str):
    """Texts ``times`` as long as those of training: of more sentences, or of longer ones."""
    length = CONFIG["length"] * times
    longest = CONFIG["length"] if kind == "more" else length
    generator = random.Random(CONFIG["test_seed"])
    return agreement_texts(CONFIG["test_words"] // length, length, longest=longest, generator=generator)


def main() -> None:
    """Record what is missing."""
    record = Record(RESULT, command="python benchmarks/extrapolation.py", config=CONFIG)
    length, longest = CONFIG["length"], CONFIG["length"] * max(CONFIG["times"])
    cells = [(scheme, seed) for seed in SEEDS for scheme in SCHEMES]
    for scheme, seed in tqdm(cells):
        if record.has(scheme=scheme, seed=seed):
            continue
        model = agreement_model(scheme, seed=seed, max_len=longest)
        losses = train_on_agreement(
            model,
            steps=CONFIG["steps"],
            length=length,
            batch_size=CONFIG["batch_size"],
            peak_lr=CONFIG["peak_lr"],
            seed=seed,
        )
        tests = []
        for kind in ("more", "longer"):
            for times in CONFIG["times"]:
                (score,) = score_agreement(model, test_texts(times, kind))
                tests.append({"kind": kind, "times": times, **vars(score)})
        along = score_agreement(model, test_texts(max(CONFIG["times"]), "more"), block=length)
        values = {"final_loss": sum(losses[-50:]) / 50, "tests": tests, "along": [vars(score) for score in along]}
        record.add({"scheme": scheme, "seed": seed}, values)


if __name__ == "__main__":
    main()

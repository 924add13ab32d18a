"""A corpus of forty short texts, and runs on it that take milliseconds."""

import json
from pathlib import Path

from companion.data.corpus import encode_corpus
from companion.data.tokenizer import save_tokenizer, train_tokenizer
from companion.training.pretrain import ABOUT, HELD_OUT, TOKENIZER, TRAIN
from companion.training.runfile import RunConfig

SENTENCES = ("The film was long.", "I liked the slow parts!", "Nobody else did?", "They left the hall early.")
TEXTS = [" ".join(SENTENCES[(i + k) % 4] for k in range(2 + i % 5)) for i in range(40)]
N_TRAIN = 30
V = 50


def write_corpus(folder: Path) -> Path:
    """What `companion data` would write."""
    tokenizer = train_tokenizer(TEXTS, vocab_size=V)
    counts = {}
    for part, texts in ((TRAIN, TEXTS[:N_TRAIN]), (HELD_OUT, TEXTS[N_TRAIN:])):
        corpus = encode_corpus(texts, tokenizer)
        corpus.save(folder / part)
        counts[part] = corpus.counts()
    (folder / ABOUT).write_text(json.dumps({"source": "folder", "parts": counts}), encoding="utf-8")
    save_tokenizer(tokenizer, folder / TOKENIZER)
    return folder


def run_of(corpus: Path, *, task="mlm", **train) -> RunConfig:
    """A run of five steps of at most 48 tokens."""
    model = {"vocab_size": V, "max_len": 24, "d_model": 8, "n_layers": 1, "d_ff": 12}
    return RunConfig.from_dict(
        {
            "model": {**model, "n_segments": 2 if task == "mlm" else 0},
            "objective": {"task": task},
            "data": {"corpus": str(corpus), "length": 16, "tokens_per_batch": 48, "eval_tokens": 96},
            "train": {"max_steps": 5, **train},
        }
    )

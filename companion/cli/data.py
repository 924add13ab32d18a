"""``companion data``: texts become a corpus of token ids."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from companion.data.corpus import encode_corpus, held_out_documents
from companion.data.imdb import VARIABLE, pretraining_texts
from companion.data.texts import Texts, left_out, read_texts
from companion.data.tokenizer import load_tokenizer, save_tokenizer, special_ids, train_tokenizer
from companion.files import write_text_whole
from companion.training.pretrain import ABOUT, HELD_OUT, TOKENIZER, TRAIN

IMDB = "imdb"

DESCRIPTION = f"""\
Read texts, train a tokenizer on them (or take one), and write them as token ids, split into a part to train on and a
held-out part, by whole documents. The tokenizer never sees the held-out part.

SOURCE is a folder of your own: each .txt file in it is a document, and so is each line of a .jsonl file, a JSON object
with the field "text"; all in UTF-8. Or it is the word imdb: the 73,668 film reviews that the book pretrains on, from
the folder named by the environment variable {VARIABLE}, or else from the Hugging Face hub. (For a folder of that
name, write ./imdb.)

What is left out (empty documents, rows without text) is counted and printed.
"""
EPILOG = """\
examples:
  companion data my_texts/ --out runs/data/mine
  companion data my_texts/ --out runs/data/mine --vocab-size 2000     # little text supports a small vocabulary only
  companion data imdb --tokenizer book --out runs/data/imdb
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "data",
        help="turn a folder of texts, or IMDB, into a corpus to train on",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help="a folder of .txt and .jsonl files, or the word imdb")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the corpus is written")
    parser.add_argument(
        "--tokenizer", metavar="NAME", help="book, or the path of a tokenizer.json; by default one is trained"
    )
    parser.add_argument("--vocab-size", type=int, default=8192, metavar="N", help="pieces of a new one (default 8192)")
    parser.add_argument(
        "--held-out", type=float, default=0.02, metavar="SHARE", help="share of the documents held out (default 0.02)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the split (default 0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the corpus."""
    found = Texts(pretraining_texts(), {}) if options.source == IMDB else read_texts(options.source)
    held_out = set(held_out_documents(len(found.texts), options.held_out, options.seed))
    parts = {
        TRAIN: [text for i, text in enumerate(found.texts) if i not in held_out],
        HELD_OUT: [text for i, text in enumerate(found.texts) if i in held_out],
    }
    print(f"{len(found.texts):,} documents, {len(held_out):,} of them held out; {left_out(found.skipped)}")
    if options.tokenizer is None:
        print(f"training a tokenizer of {options.vocab_size:,} pieces ...", flush=True)
        tokenizer = train_tokenizer(parts[TRAIN], vocab_size=options.vocab_size)
    else:
        tokenizer = load_tokenizer(options.tokenizer)
    special_ids(tokenizer)  # before the long part: does it have all that pretraining needs?
    # Written last and removed first: a folder without it counts as no corpus, so no mixture of two is ever read.
    (options.out / TOKENIZER).unlink(missing_ok=True)
    counts = {}
    for name, texts in parts.items():
        corpus = encode_corpus(texts, tokenizer, progress=sys.stderr.isatty())
        corpus.save(options.out / name)
        counts[name] = corpus.counts()
        print(
            f"{name}: {corpus.n_documents:,} documents, {corpus.n_sentences:,} sentences, {corpus.n_tokens:,} tokens; "
            f"{left_out(corpus.skipped)}"
        )
    about = {
        "source": IMDB if options.source == IMDB else "folder",
        "held_out_share": options.held_out,
        "seed": options.seed,
        "vocab_size": tokenizer.get_vocab_size(),
        "skipped": found.skipped,
        "parts": counts,
    }
    write_text_whole(options.out / ABOUT, json.dumps(about, indent=1) + "\n")
    save_tokenizer(tokenizer, options.out / TOKENIZER)
    print(f"written to {options.out}; next: companion pretrain RUN.toml --set data.corpus={options.out.as_posix()}")
    return 0

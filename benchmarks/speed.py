"""`make bench`: training and inference of companion's models beside what a reader would use instead.

    python -m benchmarks.speed [--rounds 15] [--only encoder,causal,...] [--precisions fp32,...] [--out FILE]

Every table is one run in which the contenders take turns, each in a process of its own; ratios are medians over the
turns. Read the ratios: absolute figures move with the machine. With --only, the other tables in FILE stay as they are;
each table says when and on what kind of machine it was measured.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks import harness
from benchmarks.attention import attention_table
from benchmarks.contenders import KEPT, Shape
from benchmarks.harness import Contender, interleave, product_peak, speed_ratio
from benchmarks.memory import memory_table
from benchmarks.recipes import text_lengths
from benchmarks.tasks import IN_ORDER, N_TEXTS, TASKS
from benchmarks.where import where_table
from benchmarks.worker import Job, contenders
from companion.files import write_text_whole

OURS = ("companion", f"companion{KEPT}")
_BERT = ("HF BERT, eager", "HF BERT, sdpa")
_NN = ("nn.TransformerEncoder, post", "nn.TransformerEncoder, pre")
_RECIPE = "64 texts as long as IMDB's reviews, at most 512 tokens: real tokens"


@dataclass(frozen=True)
class Table:
    """One table of speeds: who does which work. A peer with kept memory is shown, but is not what people run."""

    title: str
    task: str
    shape: Shape
    names: tuple[str, ...]

    @property
    def tokens(self) -> int:
        """Real tokens of a step."""
        if self.task == "texts":
            from benchmarks.lengths import imdb_lengths

            return int(imdb_lengths(N_TEXTS, longest=self.shape.length).sum())
        if self.task in ("pretraining", "fine_tuning"):
            return int(text_lengths(self.shape).sum())
        return self.shape.batch * self.shape.length

    def measure(self, options: argparse.Namespace) -> dict[str, object]:
        """All columns."""
        print(f"\n{self.title}")
        columns = {precision: self._column(precision, options) for precision in options.precisions}
        return {"title": self.title, "shape": asdict(self.shape), "columns": columns}

    def _column(self, precision: str, options: argparse.Namespace) -> dict[str, object]:
        """Tokens a second, ratios, and the share of the machine's matrix-product peak."""
        names = _possible(self.names, precision)
        jobs = [Job(self.task, name, self.shape, precision, options.threads) for name in names]
        peak = product_peak(precision)
        with contenders(jobs) as runners:
            interleave(runners, rounds=options.rounds, label=precision)
        ours = [r for r in runners if r.name in OURS]
        fastest = min((r for r in runners if not r.name.startswith("companion") and KEPT not in r.name), key=_median)
        print(f"  {precision}: fastest peer {fastest.name}; matrix products reach {peak:.0f} GFLOP/s here")
        return {
            "peak_gflops": round(peak),
            "fastest_peer": fastest.name,
            "times_faster_than_it": {r.name: round(speed_ratio(r, fastest), 3) for r in ours},
            "rows": [self._row(r, ours, peak) for r in runners],
        }

    def _row(self, runner: Contender, ours: list[Contender], peak: float) -> dict[str, object]:
        flops = TASKS[self.task].flops(self.shape)
        row = {
            "name": runner.name,
            "tokens_per_second": round(self.tokens / runner.median),
            "times_faster_than_it": {r.name: round(speed_ratio(r, runner), 3) for r in ours},
            "share_of_peak": None if flops is None else round(flops / runner.median / 1e9 / peak, 3),
        }
        ratios = "   ".join(f"{name} x{ratio:.2f}" for name, ratio in row["times_faster_than_it"].items())
        share = "" if flops is None else f"   {row['share_of_peak']:.0%} of the peak"
        print(f"    {runner.name:44s}{row['tokens_per_second']:10,d} tokens/s   {ratios}{share}", flush=True)
        return row


def _possible(names: tuple[str, ...], precision: str) -> list[str]:
    """Without what this machine cannot do (memory is kept by glibc alone) or torch (nested tensors in bfloat16)."""
    keeps = platform.libc_ver()[0] == "glibc"
    return [n for n in names if (keeps or KEPT not in n) and not (precision == "bf16" and "nested" in n)]


def _median(runner: Contender) -> float:
    return runner.median


ENCODER = Shape(batch=16, length=256)
TABLES = {
    "encoder": Table(
        "Training step, encoder classifier, 16 x 256 tokens",
        "encoder",
        ENCODER,
        (*OURS, *_BERT, *_NN, _NN[0] + KEPT),
    ),
    "causal": Table(
        "Training step, causal language model, 8 x 256 tokens",
        "causal",
        Shape(batch=8, length=256),
        (*OURS, "HF GPT-2, eager", "HF GPT-2, sdpa", "plain GPT", "plain GPT, compiled", f"plain GPT{KEPT}"),
    ),
    "forward": Table(
        "Forward, encoder classifier, 16 x 256 tokens",
        "forward",
        ENCODER,
        (*OURS, *_BERT, *_NN, _NN[0] + KEPT),
    ),
    "base": Table(
        "Forward, the shape of BERT-base, 2 x 128 tokens",
        "forward",
        Shape(batch=2, length=128, d_model=768, n_layers=12, n_heads=12, vocab_size=30522),
        (*OURS, *_BERT, *_NN),
    ),
    "texts": Table(
        f"Forward, {N_TEXTS} texts as long as IMDB's reviews, at most 512 tokens, 16 at a time: real tokens",
        "texts",
        Shape(batch=16, length=512),
        (
            *OURS,
            f"companion{IN_ORDER}",
            _NN[0],
            *(name + IN_ORDER for name in (_NN[0], "nn.TransformerEncoder, nested", _BERT[1])),
        ),
    ),
    "pretraining": Table(
        f"Masked language modeling, whole steps, {_RECIPE}",
        "pretraining",
        Shape(batch=16, length=512),
        (
            *OURS,
            *(f"{name}: its collator, padded to the longest" for name in _BERT),
            f"{_BERT[1]}: its collator, blocks",
            *(f"{_NN[0]}: padded to {to}" for to in ("512", "the longest")),
        ),
    ),
    "fine_tuning": Table(
        f"Fine-tuning a classifier, whole steps, {_RECIPE}",
        "fine_tuning",
        Shape(batch=16, length=512),
        (
            *OURS,
            *(f"{name}: its collator, padded to the longest" for name in _BERT),
            f"{_BERT[1]}: its collator, by length",
            *(f"{_NN[0]}: padded to {to}" for to in ("512", "the longest")),
        ),
    ),
}


def dropout_table(options: argparse.Namespace) -> dict[str, object]:
    """What a dropout of 0.1 costs, for companion and for its peers."""
    print("\nDropout 0.1 in a training step of the encoder, times slower than without")
    columns: dict[str, object] = {}
    for precision in options.precisions:
        jobs = [
            Job("encoder", name, Shape(batch=16, length=256, dropout=p), precision, options.threads)
            for name in _possible((*OURS, _BERT[0], _NN[0]), precision)
            for p in (0.0, 0.1)
        ]
        with contenders(jobs) as runners:
            interleave(runners, rounds=options.rounds, label=precision)
        pairs = zip(runners[::2], runners[1::2], strict=True)
        rows = {without.name: round(speed_ratio(without, with_), 3) for without, with_ in pairs}
        print(f"  {precision}: " + ", ".join(f"{name} x{cost:.2f}" for name, cost in rows.items()))
        columns[precision] = rows
    return {"columns": columns}


MEASURES: dict[str, Callable[[argparse.Namespace], dict[str, object]]] = {
    **{name: table.measure for name, table in TABLES.items()},
    "dropout": dropout_table,
    "attention": lambda options: attention_table(3 * options.rounds, options.precisions),
    "memory": lambda options: memory_table(options.threads),
    "where": lambda _: where_table(),
}


def store(path: Path, name: str, table: dict[str, object]) -> None:
    """Put one table into the file, beside the others that are there."""
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"command": "make bench", "tables": {}}
    record["tables"][name] = table
    record["tables"] = {known: record["tables"][known] for known in MEASURES if known in record["tables"]}
    write_text_whole(path, json.dumps(record, indent=1) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Run the tables that were asked for and store each as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contender (15)")
    parser.add_argument("--threads", type=int, default=2, help="threads (2)")
    parser.add_argument("--only", default=",".join(MEASURES), help="which tables: %(default)s")
    parser.add_argument("--precisions", help="which columns; default: those whose products are faster than float32's")
    parser.add_argument("--out", type=Path, help="also store the figures here, as JSON, beside other tables")
    options = parser.parse_args(argv)
    wanted = options.only.split(",")
    asked = options.precisions.split(",") if options.precisions else []
    for what, names, known in (("table", wanted, list(MEASURES)), ("column", asked, list(harness.PRECISIONS))):
        if unknown := sorted(set(names) - set(known)):
            print(f"no {what} {unknown}; there are {known}", file=sys.stderr)
            return 2
    torch.set_num_threads(options.threads)
    options.precisions, left_out = (asked, {}) if asked else harness.worthwhile_precisions()
    for name, reason in left_out.items():
        print(f"column {name} left out: {reason}")
    for name in wanted:
        start = time.perf_counter()
        result = MEASURES[name](options)
        about = {
            "date": datetime.now(UTC).date().isoformat(),
            "seconds": round(time.perf_counter() - start),
            "machine": harness.machine(),
            "rounds": options.rounds,
            "columns_left_out": left_out,
        }
        if options.out:
            store(options.out, name, {**about, **result})
            print(f"stored in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make bench`: training and inference of companion's models beside what a reader would use instead.

    python -m benchmarks.speed [--rounds 15] [--only encoder,causal,forward,dropout,attention,memory] [--out FILE]

Every table is one run in which the contenders take turns; ratios are medians over the turns. Read the ratios: absolute
figures move with the machine.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks import contenders as c
from benchmarks.attention import attention_table
from benchmarks.harness import PRECISIONS, Contender, interleave, machine, product_peak, speed_ratio
from benchmarks.memory import memory_table

ENCODER = c.Shape(batch=16, length=256)
CAUSAL = c.Shape(batch=8, length=256)
BASE = c.Shape(batch=2, length=128, d_model=768, n_layers=12, n_heads=12, vocab_size=30522)


def table(
    title: str,
    make: Callable[[str, c.Shape, str], Contender],
    names: list[str],
    shape: c.Shape,
    *,
    rounds: int,
    flops: float,
    precisions: tuple[str, ...] = PRECISIONS,
) -> dict[str, object]:
    """One table: tokens a second, ratios, and the share of the machine's matrix-product peak."""
    print(f"\n{title}")
    columns: dict[str, object] = {}
    for precision in precisions:
        runners = [make(name, shape, precision) for name in names]
        peak = product_peak(precision)
        interleave(runners, rounds=rounds, label=precision)
        ours = runners[0]
        fastest = min((r for r in runners if not r.ours), key=lambda r: r.median)
        print(f"  {precision}: fastest peer {fastest.name}; matrix products reach {peak:.0f} GFLOP/s here")
        rows = []
        for r in runners:
            row = {
                "name": r.name,
                "tokens_per_second": round(shape.batch * shape.length / r.median),
                "companion_is_times_faster": round(speed_ratio(ours, r), 3),
                "share_of_peak": round(flops / r.median / 1e9 / peak, 3),
            }
            rows.append(row)
            print(
                f"    {r.name:30s}{row['tokens_per_second']:10,d} tokens/s   "
                f"companion x{row['companion_is_times_faster']:.2f}   {row['share_of_peak']:.0%} of the peak"
            )
        columns[precision] = {"peak_gflops": round(peak), "fastest_peer": fastest.name, "rows": rows}
    return {"title": title, "shape": vars(shape), "columns": columns}


def dropout_table(rounds: int) -> dict[str, object]:
    """What a dropout of 0.1 costs, for companion and for PyTorch's encoder."""
    print("\nDropout 0.1 in a training step of the encoder, times slower than without")
    columns: dict[str, object] = {}
    for precision in PRECISIONS:
        runners = []
        for name in ("companion", "HF BERT, eager", "nn.TransformerEncoder, post"):
            for p in (0.0, 0.1):
                shape = c.Shape(batch=16, length=256, dropout=p)
                runners.append(c.encoder_training(name, shape, precision))
        interleave(runners, rounds=rounds, label=precision)
        rows = {
            without.name: round(speed_ratio(without, with_), 3)
            for without, with_ in zip(runners[::2], runners[1::2], strict=True)
        }
        print(f"  {precision}: " + ", ".join(f"{name} x{cost:.2f}" for name, cost in rows.items()))
        columns[precision] = rows
    return {"columns": columns}


def main(argv: list[str] | None = None) -> int:
    """Run the tables that were asked for and store them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contender (15)")
    parser.add_argument("--threads", type=int, default=2, help="threads (2)")
    parser.add_argument("--only", default="encoder,causal,forward,base,dropout,attention,memory", help="which tables")
    parser.add_argument("--out", type=Path, help="also store the figures here, as JSON")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    start = time.perf_counter()
    tables: dict[str, Callable[[], dict[str, object]]] = {
        "encoder": lambda: table(
            "Training step, encoder classifier, 16 x 256 tokens",
            c.encoder_training,
            list(c.ENCODERS),
            ENCODER,
            rounds=args.rounds,
            flops=ENCODER.product_flops(train=True, vocab_head=False),
        ),
        "causal": lambda: table(
            "Training step, causal language model, 8 x 256 tokens",
            c.causal_training,
            list(c.CAUSAL),
            CAUSAL,
            rounds=args.rounds,
            flops=CAUSAL.product_flops(train=True, vocab_head=True),
        ),
        "forward": lambda: table(
            "Forward, encoder classifier, 16 x 256 tokens",
            c.encoder_inference,
            list(c.ENCODERS),
            ENCODER,
            rounds=args.rounds,
            flops=ENCODER.product_flops(train=False, vocab_head=False),
        ),
        "base": lambda: table(
            "Forward, the shape of BERT-base, 2 x 128 tokens",
            c.encoder_inference,
            list(c.ENCODERS),
            BASE,
            rounds=args.rounds,
            flops=BASE.product_flops(train=False, vocab_head=False),
        ),
        "dropout": lambda: dropout_table(args.rounds),
        "attention": lambda: attention_table(args.rounds),
        "memory": memory_table,
    }
    wanted = args.only.split(",")
    unknown = sorted(set(wanted) - set(tables))
    if unknown:
        print(f"no table {unknown}; there are {list(tables)}", file=sys.stderr)
        return 2
    results = {name: tables[name]() for name in wanted}
    record = {
        "command": "make bench",
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(time.perf_counter() - start),
        "machine": machine(),
        "rounds": args.rounds,
        "tables": results,
    }
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"\nstored in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

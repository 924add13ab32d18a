"""Accuracy on IMDB: eight models, from 10 labels to all 25,000, over several seeds; one file a cell.

    make reproduce                                      # what is missing of everything: days on one core
    python -m benchmarks.imdb --list                    # what is there, what is missing, and how long it would take
    python -m benchmarks.imdb --models full --labels 25000 --seeds 0 1 2
    python -m benchmarks.imdb --models nb --source mini --labels 1000 --out runs/try

writes book/results/imdb/MODEL-nLABELS-sSEED.json; cells that are there are skipped, so move one away to measure it
anew, and with all labels its folder in runs/imdb, too, or that finished training is only judged again. Ctrl-C stops: a
network goes on from its checkpoint in runs/imdb when the command is given again, another cell begins anew. Several
processes may fill different cells at the same time. The trainings with all labels stay in runs/imdb, for `companion
evaluate`, `predict` and `export`.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from companion.experiments.imdb import COUNTS, LINEAR, LISTINGS, MODELS, NETWORKS, WHOLE, Cell, matrix, write_cell
from companion.experiments.imdb_source import Source
from companion.training.record import machine_class, read_record
from companion.training.runfile import MachineConfig, parse_override

ROOT = Path(__file__).resolve().parents[1]
RESULTS, RECIPES, RUNS = ROOT / "book" / "results" / "imdb", ROOT / "book" / "recipes", ROOT / "runs" / "imdb"
SOURCES = {"imdb": Source(), "mini": Source("mini", whole=2000, sample=500)}
INTERRUPTED = 130
#: seconds of a cell on one thread: with all labels; with few: at least, and for each label
ESTIMATES = {
    "full": (2600, 150, 0.1),
    "lora": (2200, 150, 0.1),
    "probe": (900, 100, 0.01),
    "scratch": (4000, 150, 0.1),
    "nb": (180, 4, 0.02),
    "tfidf": (90, 4, 0.01),
    "listing": (1200, 60, 0.05),
    "listing-mended": (1200, 60, 0.05),
}


def main(arguments: Sequence[str] | None = None, source: Source | None = None) -> int:
    """Measure what is missing; 0 if all is there then, 1 if something failed, 130 if it was stopped."""
    options = build_parser().parse_args(arguments)
    source = source or SOURCES[options.source]
    out = options.out or RESULTS
    try:
        if source.name != "imdb" and options.out is None:
            raise ValueError(f"{RESULTS} holds what was measured on IMDB; give --out for another source")
        cells = matrix(options.models, options.labels, options.seeds, whole=source.whole)
        if options.list:
            print(table(cells, out))
            return 0
        return measure(cells, source, out, options)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"benchmarks.imdb: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The parser."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.imdb", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models", nargs="+", default=[], choices=list(MODELS), metavar="MODEL", help=", ".join(MODELS)
    )
    counts = ", ".join(map(str, (*COUNTS, WHOLE)))
    parser.add_argument("--labels", nargs="+", default=[], type=int, metavar="N", help=f"of {counts}")
    parser.add_argument("--seeds", nargs="+", default=[], type=int, metavar="S", help="default: 10, or 3 from 1,000 on")
    parser.add_argument("--list", action="store_true", help="measure nothing; say what is there and what is missing")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the files are (default: book/results/imdb)")
    parser.add_argument("--runs", type=Path, default=RUNS, metavar="FOLDER", help="of checkpoints (default: runs/imdb)")
    parser.add_argument("--source", choices=list(SOURCES), default="imdb", help="mini tries everything out, anywhere")
    parser.add_argument(
        *("--set", "-s"),
        action="append",
        default=[],
        dest="overrides",
        metavar="SECTION.KEY=VALUE",
        help="replace one value of the networks' recipes, like machine.device=cuda; noted in the cell",
    )
    return parser


def measure(cells: list[Cell], source: Source, out: Path, options: argparse.Namespace) -> int:
    """Fill the cells that have no file yet, one after the other."""
    for override in options.overrides:
        parse_override(override)
    missing = [cell for cell in cells if not _path(out, cell).exists()]
    print(f"{len(cells) - len(missing)} of {len(cells)} cells are there already", flush=True)
    bar = tqdm(missing, unit="cell", disable=None)
    try:
        for cell in bar:
            bar.set_description(cell.name)
            if _path(out, cell).exists():  # another process was faster
                continue
            began = time.perf_counter()
            values = measure_cell(cell, source, options)
            before = values.pop("seconds_before", 0.0)  # of a training that is taken up again, in earlier sessions
            values["seconds_in_all"] = before + time.perf_counter() - began
            write_cell(out, cell, _rounded(values))
            bar.write(
                f"{cell.name}: accuracy {values['accuracy']:.2%}, {values['seconds']:.1f} s of training, "
                f"{values['seconds_in_all']:.1f} s in all",
                file=sys.stdout,
            )
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("benchmarks.imdb: stopped; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    return 0


def measure_cell(cell: Cell, source: Source, options: argparse.Namespace) -> dict[str, Any]:
    """All that a cell's file says."""
    overrides = options.overrides if cell.model in NETWORKS else []
    about = {
        "machine": machine_class(MachineConfig(threads=1)),
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"python -m benchmarks.imdb --models {cell.model} --labels {cell.labels} --seeds {cell.seed}"
        + "".join(f" --set {override}" for override in overrides),
    }
    if cell.model in LINEAR:
        from companion.experiments.imdb_linear import linear_cell

        return {**about, **linear_cell(cell, source)}
    if cell.model in LISTINGS:
        from companion.experiments.imdb_listing import listing_cell

        return {**about, **listing_cell(cell, source)}
    from companion.experiments.imdb_networks import network_cell

    return {**about, **network_cell(cell, source, recipes=RECIPES, runs=options.runs, overrides=overrides)}


def table(cells: list[Cell], out: Path) -> str:
    """How many cells of each model and number of labels are there, and how long the missing ones take."""
    groups: dict[tuple[str, int], list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: (list(MODELS).index(cell.model), cell.labels, cell.seed)):
        groups.setdefault((cell.model, cell.labels), []).append(cell)
    lines, left = [f"{'model':<16}{'labels':>8}{'there':>9}   missing seeds, minutes on one core"], 0.0
    for (model, labels), group in groups.items():
        there = [cell for cell in group if _path(out, cell).exists()]
        missing = [cell for cell in group if cell not in there]
        seconds = len(missing) * estimate(model, labels, there, out)
        left += seconds
        seeds = f"{' '.join(str(cell.seed) for cell in missing)}: about {seconds / 60:.1f}" if missing else ""
        lines.append(f"{model:<16}{labels:>8,}{len(there):>4} of {len(group):<2}   {seeds}".rstrip())
    n = sum(not _path(out, cell).exists() for cell in cells)
    return "\n".join([*lines, f"{n} of {len(cells)} cells are missing; about {left / 3600:.1f} hours on one core"])


def estimate(model: str, labels: int, there: list[Cell], out: Path) -> float:
    """Seconds of a cell: as its neighbors took, or else by rule of thumb; of some nobody knows it any more."""
    took = [read_record(_path(out, cell))["seconds_in_all"] for cell in there]
    if known := [seconds for seconds in took if seconds is not None]:
        return statistics.median(known)
    whole, least, each = ESTIMATES[model]
    return whole if labels == WHOLE else least + each * labels


def _path(out: Path, cell: Cell) -> Path:
    return out / f"{cell.name}.json"


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Seconds to one place, other numbers to five; what was set (a rate of 1e-8, say) and the curves stay."""
    return {
        k: v if k in ("config", "machine", "train") else _round(v, 1 if k.startswith("seconds") else 5)
        for k, v in values.items()
    }


def _round(value: Any, places: int) -> Any:
    if isinstance(value, dict):
        return {k: _round(v, places) for k, v in value.items()}
    if isinstance(value, list):
        return [_round(v, places) for v in value]
    return round(value, places) if isinstance(value, float) else value


if __name__ == "__main__":
    raise SystemExit(main())

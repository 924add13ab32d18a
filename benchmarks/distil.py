"""A classifier that is taught by the linear model on reviews without labels, then fine-tuned on the labels.

    companion finetune book/recipes/imdb-full.toml --set train.precision=bf16    # the second teacher
    python -m benchmarks.distil --network runs/imdb-full --passes 2 --set train.precision=bf16
    companion evaluate runs/distilled/tuned --record book/results/distilled.json
    companion export runs/distilled/tuned --record book/results/distilled.json --out companion/assets/imdb-classifier

The second one, an hour on a core, writes book/results/distilled.json, teachers and both stages, and leaves the weights
in runs/distilled; Ctrl-C stops it, and the same command goes on. The third one reads the test split and notes what it
found. Another pupil takes --out and --runs of its own: a record of another command or configuration is not written
over.
"""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from companion.cli.runs import add_overrides
from companion.errors import require
from companion.experiments.distillation import (
    STAGES,
    load_teacher,
    taught_once,
    teach_network,
    tune_network,
    unlabelled_texts,
)
from companion.training.finetune import read_split
from companion.training.finetune_config import FineTuneRun, read_finetune
from companion.training.finetune_record import finetune_summary
from companion.training.pretrain import use_machine
from companion.training.record import read_record, write_record

ROOT = Path(__file__).resolve().parents[1]
RESULT, RUNS = ROOT / "book" / "results" / "distilled.json", ROOT / "runs" / "distilled"
RECIPE = ROOT / "book" / "recipes" / "imdb-full.toml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is missing; 0 if all is there then, 1 if something failed, 130 if it was stopped."""
    options = build_parser().parse_args(arguments)
    try:
        command = command_of(options)
        runs = stages_of(options)
        require_same(options.out, command, runs)
        record = distil(runs, options.networks, options.runs, hard=options.hard, command=command)
    except KeyboardInterrupt:
        print("benchmarks.distil: stopped; the same command goes on", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"benchmarks.distil: error: {error}", file=sys.stderr)
        return 1
    write_record(options.out, record)
    print(f"held out {record['best']['scores']['accuracy']:.2%}; recorded in {options.out}")
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.distil", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", type=Path, default=RECIPE, metavar="RUN.toml", help="of the pupil")
    parser.add_argument(
        "--network",
        type=Path,
        action="append",
        default=[],
        dest="networks",
        metavar="FOLDER",
        help="the run of a fine-tuned network that teaches along with the linear model; may be given several times",
    )
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE", help="the record")
    parser.add_argument("--runs", type=Path, default=RUNS, metavar="FOLDER", help="of checkpoints")
    parser.add_argument(
        "--hard", action="store_true", help="teach the likelier class of each text, and not how likely it is"
    )
    parser.add_argument("--passes", type=int, default=1, metavar="N", help="over the texts without labels (default: 1)")
    parser.add_argument(
        "--tuned",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="replace one value of the second stage alone, like finetune.epochs=2; may be given several times",
    )
    add_overrides(parser)
    return parser


def stages_of(options: argparse.Namespace) -> dict[str, FineTuneRun]:
    """The run of each stage, as the options say."""
    return stage_runs(options.overrides, options.recipe, passes=options.passes, tuned=options.tuned)


def require_same(out: Path, command: str, runs: Mapping[str, FineTuneRun]) -> None:
    """Refuse to write over what another command or configuration has given.

    Raises:
        ValueError: ``out`` is a record of another one, or none at all.
    """
    if not out.is_file():
        return
    there = read_record(out)
    recorded = (there.get("taught", {}).get("config"), there.get("config"))
    same = all(_is(config, run) for config, run in zip(recorded, runs.values(), strict=True))
    require(
        same and there.get("command") == command,
        f"{out} was recorded by another command or configuration ({there.get('command')}); move it away or give --out",
    )


def _is(config: Any, run: FineTuneRun) -> bool:
    """Whether a recorded configuration is this run's; what it does not say yet has its default."""
    try:
        return FineTuneRun.from_dict(config or {}).to_dict() == run.to_dict()
    except ValueError:
        return False


def stage_runs(
    overrides: Sequence[str] = (), recipe: Path = RECIPE, *, passes: int = 1, tuned: Sequence[str] = ()
) -> dict[str, FineTuneRun]:
    """The run of each stage; ``passes`` are those over the texts without labels, ``tuned`` is for the second alone.

    Raises:
        ValueError: a value is none, or the passes are set twice.
    """
    set_twice = passes != 1 and any(override.startswith("finetune.epochs=") for override in overrides)
    require(
        not set_twice,
        f"--passes {passes} would do nothing beside --set finetune.epochs, which is for both stages; give --passes for "
        "the first one and --tuned finetune.epochs=N for the second",
    )
    more = {"taught": [f"finetune.epochs={passes}", *overrides], "tuned": [*overrides, *tuned]}
    return {name: read_finetune(recipe, [*changes, *more[name]]) for name, changes in STAGES.items()}


def distil(
    stages: Mapping[str, FineTuneRun], networks: Sequence[Path], runs: Path, *, hard: bool = False, command: str = ""
) -> dict[str, Any]:
    """The record of the second stage, and in it, as ``taught``, those of the first one and of the teachers."""
    first, second = stages.values()
    device = use_machine(first.machine)
    data = read_split(second)
    teachers = [load_teacher(folder, data) for folder in networks]
    for teacher in teachers:
        teacher.model.to(device)
    texts = unlabelled_texts(second.data.source, data, seed=second.data.seed)
    taught = taught_once(data, texts, runs / "teacher.pt", teachers)
    for name, value in taught.about.items():
        print(f"teacher, {name.replace('_', ' ')}: {value:.4f}", flush=True)
    student = teach_network(first, taught, data, runs / "taught", hard=hard, device=device)
    tuner = tune_network(second, student, data, runs / "tuned", device=device)
    before = finetune_summary(student, data, command="")
    return {
        **finetune_summary(tuner, data, command=command),
        "taught": {
            "teacher": "+".join(["nb", *(folder.name for folder in networks)]),
            "targets": "classes" if hard else "probabilities",
            "texts": len(taught.texts),
            **{f"teacher_{name}": round(value, 4) for name, value in taught.about.items()},
            **{name: before[name] for name in ("config", "seconds", "steps", "tokens", "operations", "held_out")},
        },
    }


def command_of(options: argparse.Namespace) -> str:
    """The command as it can be given again, in the repository's folder: what differs from the defaults."""
    parts = _unless(RECIPE, "--recipe", options.recipe)
    parts += [part for path in options.networks for part in ("--network", _shown(path))] + ["--hard"] * options.hard
    parts += ["--passes", str(options.passes)] if options.passes != 1 else []
    parts += [part for override in options.tuned for part in ("--tuned", override)]
    parts += [part for override in options.overrides for part in ("--set", override)]
    parts += _unless(RESULT, "--out", options.out) + _unless(RUNS, "--runs", options.runs)
    return shlex.join(["python", "-m", "benchmarks.distil", *parts])


def _unless(default: Path, name: str, path: Path) -> list[str]:
    return [] if path.resolve() == default else [name, _shown(path)]


def _shown(path: Path) -> str:
    """A path in the repository as seen from there, another one as it was given."""
    whole = path.resolve()
    return (whole.relative_to(ROOT) if whole.is_relative_to(ROOT) else path).as_posix()


if __name__ == "__main__":
    raise SystemExit(main())

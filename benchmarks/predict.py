"""How long does `companion predict "…"` take, from the start of the process to the answer on the screen?

    python -m benchmarks.predict

writes book/results/predict.json: five runs, each a new process, after one that is not counted and leaves the files in
memory. The goal is a median below two seconds.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from companion.errors import require
from companion.experiments.results import Record

RESULT = Path(__file__).resolve().parents[1] / "book" / "results" / "predict.json"
CONFIG: dict[str, Any] = {"text": "A quiet film, and a good one.", "model": "imdb-classifier", "runs": 5}


def main(result: Path = RESULT) -> None:
    """Record what is missing."""
    record = Record(result, command="python -m benchmarks.predict", config=CONFIG)
    answer_in_new_process()
    for run in range(CONFIG["runs"]):
        if not record.has(run=run):
            seconds, said = answer_in_new_process()
            record.add({"run": run}, {"wall_seconds": round(seconds, 3), "said": said})
            print(f"{seconds:.2f} s: {said}", flush=True)


def answer_in_new_process() -> tuple[float, str]:
    """Seconds, and what was printed.

    Raises:
        ValueError: the command failed; with what it said.
    """
    command = [sys.executable, "-c", "import sys; from companion.cli import main; sys.exit(main())"]
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "predict", "--model", CONFIG["model"], CONFIG["text"]],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
        check=False,
    )
    seconds = time.perf_counter() - began
    require(done.returncode == 0, f"companion predict failed: {done.stderr.strip()}")
    return seconds, " ".join(done.stdout.split())


if __name__ == "__main__":
    main()

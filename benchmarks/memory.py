"""Peak memory of a training step, each contender in a process of its own: what the step adds to the imports."""

import sys

from benchmarks import contenders as c
from benchmarks.tasks import TASKS
from benchmarks.worker import Job, workers

SHAPES = {"encoder": c.Shape(batch=16, length=256), "causal": c.Shape(batch=8, length=256)}


def memory_table(threads: int) -> dict[str, object]:
    """Megabytes of each contender, in float32."""
    print("\nPeak memory of training steps in float32, over what importing takes")
    result: dict[str, object] = {}
    if sys.platform == "win32":
        print("  not measured on Windows")
        return result
    for task, shape in SHAPES.items():
        rows = {}
        for name in TASKS[task].models:
            if "compiled" in name or "nested" in name:
                continue
            with workers([Job(task, name, shape, "fp32", threads)]) as [worker]:
                for _ in range(3):
                    worker.ask("step")
                rows[name] = round(worker.ask("peak"), 1)
            print(f"  {task:8s} {name:30s}{rows[name]:8.0f} MB")
        result[task] = rows
    return result

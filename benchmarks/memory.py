"""Peak memory of a training step, each contender in a process of its own: what the step adds to the imports."""

import subprocess
import sys

from benchmarks import contenders as c

KINDS = {
    "encoder": (c.encoder_training, c.ENCODERS, c.Shape(batch=16, length=256)),
    "causal": (c.causal_training, c.CAUSAL, c.Shape(batch=8, length=256)),
}


def _peak_mb() -> float:
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def memory_table() -> dict[str, object]:
    """Megabytes of each contender, in float32."""
    print("\nPeak memory of training steps in float32, over what importing takes")
    result: dict[str, object] = {}
    if sys.platform == "win32":
        print("  not measured on Windows")
        return result
    for kind, (_, names, _) in KINDS.items():
        rows = {}
        for name in names:
            if "compiled" in name:
                continue
            command = [sys.executable, "-m", "benchmarks.memory", kind, name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows[name] = float(done.stdout)
            print(f"  {kind:8s} {name:30s}{rows[name]:8.0f} MB")
        result[kind] = rows
    return result


def main(kind: str, name: str) -> None:
    """Three steps of one contender, in this process; prints the megabytes."""
    import torch
    import transformers  # noqa: F401  # the same imports for everybody

    torch.set_num_threads(2)
    before = _peak_mb()
    make, _, shape = KINDS[kind]
    contender = make(name, shape, "fp32")
    for _ in range(3):
        contender.step()
    print(f"{_peak_mb() - before:.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])

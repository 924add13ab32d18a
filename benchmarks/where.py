"""Where the time of companion's own training steps goes, by kind of operation.

Dropout is no kind: on the CPU companion draws and multiplies by itself, which cannot be told from all else.
"""

from collections import Counter

from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

from benchmarks.contenders import Shape
from benchmarks.tasks import TASKS
from companion.runtime import keep_memory

# What PyTorch's profiler calls them; the first kind whose part is in the name takes it.
_KINDS = {
    "matrix products": ("mm", "linear", "matmul"),
    "softmax, and attention in one kernel": ("softmax", "attention"),
    "activation": ("gelu", "relu"),
    "layer norm": ("layer_norm",),
    "optimizer and clipping": ("adam", "norm", "foreach"),
    "embedding": ("embedding", "index"),
}
REST = "all else: sums, copies, batches, Python"


def kind_of(name: str) -> str:
    """The kind of an operation with this name, such as ``aten::addmm``."""
    return next((kind for kind, parts in _KINDS.items() if any(part in name for part in parts)), REST)


def shares(task: str, shape: Shape, *, steps: int = 2) -> dict[str, float]:
    """Share of the time of a step that each kind takes, memory kept where that is possible, in float32."""
    keep_memory()
    step = TASKS[task].step("companion", shape, "fp32")
    step()
    seconds: Counter[str] = Counter()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(steps):
            step()
    for event in seen.key_averages():
        seconds[kind_of(event.key)] += event.self_cpu_time_total
    total = sum(seconds.values())
    return {kind: round(seconds[kind] / total, 3) for kind in (*_KINDS, REST)}


def where_table() -> dict[str, object]:
    """For pretraining and for fine-tuning."""
    print("\nWhere the time of companion's training steps goes")
    tables: dict[str, dict[str, float]] = {}
    for task in tqdm(("pretraining", "fine_tuning"), leave=False):
        tables[task] = shares(task, Shape(batch=16, length=512))
        print(f"  {task}: " + ", ".join(f"{kind} {share:.0%}" for kind, share in tables[task].items()))
    return {"shares": tables}

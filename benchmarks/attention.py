"""The attention kernels by length: does ``backend="auto"`` take the faster one?"""

import torch

from benchmarks.harness import Contender, interleave, speed_ratio
from companion import attention

LENGTHS = (64, 128, 256, 512, 1024)
TOKENS, HEADS, WIDTH = 4096, 4, 64


def _contender(backend: str, length: int, dtype: torch.dtype, *, causal: bool, train: bool) -> Contender:
    generator = torch.Generator().manual_seed(0)
    shape = (TOKENS // length, HEADS, length, WIDTH)
    q, k, v = (torch.randn(shape, generator=generator).to(dtype).requires_grad_(train) for _ in range(3))

    def step() -> None:
        with torch.set_grad_enabled(train):
            output = attention(q, k, v, causal=causal, backend=backend)
            if train:
                output.sum().backward()
                q.grad = k.grad = v.grad = None

    return Contender(backend, step)


def attention_table(rounds: int, precisions: list[str]) -> dict[str, object]:
    """For each length: how much slower auto is than the better of the two, and which is the better."""
    dtypes = (torch.float32, torch.bfloat16) if "bf16" in precisions else (torch.float32,)
    print(f"\nAttention, {TOKENS} tokens in sequences of T: time of auto over the better of formula and fused")
    rows = []
    for train in (True, False):
        for causal in (False, True):
            for dtype in dtypes:
                for length in LENGTHS:
                    backends = ("formula", "fused", "auto")
                    runners = [_contender(b, length, dtype, causal=causal, train=train) for b in backends]
                    interleave(runners, rounds=rounds, label=f"{dtype} T={length}")
                    formula, fused, auto = runners
                    best = min((formula, fused), key=lambda r: r.median)
                    row = {
                        "train": train,
                        "causal": causal,
                        "dtype": str(dtype).removeprefix("torch."),
                        "T": length,
                        "better": best.name,
                        "fused_over_formula": round(speed_ratio(formula, fused), 3),
                        "auto_over_best": round(speed_ratio(best, auto), 3),
                    }
                    rows.append(row)
                    print(
                        f"  {'train' if train else 'infer'} {'causal' if causal else 'full  '} {row['dtype']:9s}"
                        f"T={length:5d}  {best.name:8s} better, fused/formula {row['fused_over_formula']:.2f}, "
                        f"auto/best {row['auto_over_best']:.2f}"
                    )
    return {"tokens": TOKENS, "heads": HEADS, "width": WIDTH, "rows": rows}

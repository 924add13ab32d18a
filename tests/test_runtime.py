"""The runtime measures before it changes anything, says what it did, and can be switched off."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from companion import runtime


@pytest.fixture(autouse=True)
def restored():
    before, switch = torch.get_float32_matmul_precision(), runtime.fast()
    yield
    torch.set_float32_matmul_precision(before)
    runtime.set_fast(switch)


def test_medium_is_taken_only_if_its_measured_error_allows_it(monkeypatch):
    monkeypatch.setattr(runtime, "matmul_seconds", lambda setting, **_: {"highest": 3.0, "medium": 2.0}[setting])
    error = runtime.matmul_error("medium")
    assert 0 < error < 0.02 and torch.get_float32_matmul_precision() == "highest"
    accepted = runtime.faster_float32(tolerance=error * 1.5)
    assert accepted.setting == torch.get_float32_matmul_precision() == "medium"
    assert accepted.error == pytest.approx(error, rel=0.2) and "'medium' taken" in accepted.reason
    assert accepted.speedup == 1.5 and "1.50 times as fast" in accepted.reason
    torch.set_float32_matmul_precision("highest")
    refused = runtime.faster_float32(tolerance=error * 0.5)
    assert refused.setting == torch.get_float32_matmul_precision() == "highest"
    assert "'highest' kept: 'medium' has an error of" in refused.reason


def test_medium_is_refused_where_it_is_no_faster(monkeypatch):
    monkeypatch.setattr(runtime, "matmul_error", lambda *_, **__: 2e-7)
    monkeypatch.setattr(runtime, "matmul_seconds", lambda setting, **_: {"highest": 3.0, "medium": 3.1}[setting])
    report = runtime.faster_float32()
    assert report.setting == torch.get_float32_matmul_precision() == "highest"
    assert "0.97 times as fast, and 1.2 was asked for" in report.reason
    assert runtime.faster_float32(least_speedup=0.9).setting == "medium"


def test_the_speed_is_measured_under_the_setting_and_the_setting_restored(monkeypatch):
    seen = []
    product = torch.Tensor.__matmul__
    monkeypatch.setattr(
        torch.Tensor,
        "__matmul__",
        lambda a, b: seen.append(torch.get_float32_matmul_precision()) or product(a, b),
    )
    assert 0 < runtime.matmul_seconds("medium", size=8) < 1
    assert set(seen) == {"medium"} and torch.get_float32_matmul_precision() == "highest"


PAGE_FAULTS = """
import resource, torch
from companion import runtime

def page_faults():
    faults = []
    for _ in range(4):  # filling 48 MiB again and again: more than glibc ever keeps by itself
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(12, 2**20)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(faults)

def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

given_back = page_faults()
assert runtime.keep_memory()
kept, size = page_faults(), resident()
assert runtime.keep_memory(False)
print(given_back, kept, (size - resident()) / 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told")
def test_kept_memory_is_not_touched_anew_and_can_be_given_back():
    # In a process of its own: what other tests have left in the heap counts, too.
    done = subprocess.run([sys.executable, "-c", PAGE_FAULTS], capture_output=True, text=True, check=True)
    given_back, kept, shrunk = map(float, done.stdout.split())
    assert given_back > 10 * kept + 10
    assert shrunk > 40  # MiB
    runtime.set_fast(False)
    assert not runtime.keep_memory()


LARGE_PAGES = """
import re, sys
import torch
from companion import runtime

def in_large_pages():  # MiB
    with open("/proc/self/smaps_rollup", encoding="utf-8") as file:
        return int(re.search(r"AnonHugePages: +([0-9]+)", file.read()).group(1)) / 2**10

if sys.argv[1] == "kept":
    assert runtime.keep_memory()
before = in_large_pages()
tensor = torch.ones(2**25)  # 128 MiB
print(in_large_pages() - before)
"""
THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not THP.is_file() or "[madvise]" not in THP.read_text(encoding="utf-8"),
    reason="the system lays all memory into large pages, or none",
)
def test_kept_memory_lies_in_large_pages():
    def run(how):
        env = {
            name: value for name, value in os.environ.items() if name not in ("THP_MEM_ALLOC_ENABLE", "GLIBC_TUNABLES")
        }
        done = subprocess.run(
            [sys.executable, "-c", LARGE_PAGES, how], capture_output=True, text=True, check=True, env=env
        )
        return float(done.stdout)

    assert run("kept") > 100
    assert run("not") < 10


def test_elsewhere_memory_is_left_alone(monkeypatch):
    monkeypatch.setattr(runtime.sys, "platform", "win32")
    assert not runtime.keep_memory() and not runtime.keep_memory(False)


def test_a_setting_that_rounds_is_refused(monkeypatch):
    monkeypatch.setattr(runtime, "matmul_error", lambda *_, **__: 2e-3)  # as on a CPU with AMX
    assert runtime.faster_float32().setting == "highest" == torch.get_float32_matmul_precision()


def test_the_measurement_sees_rounding(monkeypatch):
    def rounded(a, b):
        return (a.bfloat16().double() @ b.bfloat16().double()).float()

    exact = torch.Tensor.__matmul__
    monkeypatch.setattr(
        torch.Tensor, "__matmul__", lambda a, b: exact(a, b) if a.dtype == torch.float64 else rounded(a, b)
    )
    assert runtime.matmul_error("highest") > 1e-3


def test_float32_itself_is_accurate():
    assert runtime.matmul_error("highest") < 1e-6


def test_switched_off_nothing_is_measured_or_changed():
    runtime.set_fast(False)
    report = runtime.faster_float32()
    assert report.error is None and "switched off" in report.reason
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(("value", "expected"), [("0", "False"), ("1", "True"), (None, "True")])
def test_the_environment_variable_is_the_one_switch(value, expected):
    environment = {k: v for k, v in os.environ.items() if k != runtime.SWITCH}
    if value is not None:
        environment[runtime.SWITCH] = value
    code = (
        "import torch; from companion import runtime; from companion.nn.attention import faster_backend as f; "
        "x = torch.zeros(1024, 8); print(runtime.fast(), f(x, x))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected, "fused" if expected == "True" else "formula"]


def test_precision_blocks():
    a = torch.ones(2, 2)
    with runtime.precision("fp32"):
        assert (a @ a).dtype == torch.float32
    with runtime.precision("bf16"):
        assert (a @ a).dtype == torch.bfloat16
    assert (a @ a).dtype == torch.float32
    with (
        pytest.raises(ValueError, match=r"precision='fp8' is not known; choose \['fp32', 'bf16'\]"),
        runtime.precision("fp8"),
    ):
        pass


def test_best_device_can_compute():
    assert torch.ones(2, device=runtime.best_device()).sum().item() == 2

"""Who may import whom; importing the package does nothing, and its names do nothing but import torch."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import companion

PACKAGE = Path(companion.__file__).parent
LAYERS = (
    {"errors", "files"},
    {"config"},
    {"runtime"},
    {"nn", "data", "history", "viz"},
    {"models", "parallel"},
    {"training"},
    {"widgets", "errata", "exercises", "experiments", "cli"},
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
STRANGERS = {"data": {"nn"}, "viz": {"config"}}  # what DESIGN allows by rank but a part must not know


def part_of(module: str) -> str | None:
    """The part of the package that a dotted name belongs to; None outside, '' for the package itself."""
    names = module.split(".")
    return None if names[0] != "companion" else (names[1] if len(names) > 1 else "")


def imports(file: Path) -> list[tuple[int, str]]:
    """(line, dotted name) of every import in a file, those inside functions too."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative imports hide the layer; write companion...."
            names = [node.module] if node.module != "companion" else [f"companion.{a.name}" for a in node.names]
            found += [(node.lineno, name) for name in names]
    return found


def violations(file: Path, me: str) -> list[str]:
    problems = []
    for line, name in imports(file):
        other = part_of(name)
        if other is None or other == me:
            continue
        if other not in RANK:
            problems.append(f"{file.name}:{line} imports {name} from the package itself; name the module it lives in")
        elif RANK[other] >= RANK[me] or other in STRANGERS.get(me, ()):
            problems.append(f"{file.name}:{line} {me} must not import {other}")
    return problems


def test_every_part_has_a_layer():
    parts = {p.stem if p.is_file() else p.name for p in PACKAGE.iterdir() if p.suffix == ".py" or any(p.rglob("*.py"))}
    assert parts - {"__init__", "_public", "__pycache__"} <= set(RANK)


def test_a_module_imports_only_lower_layers_or_its_own_folder():
    problems = []
    for file in sorted(PACKAGE.rglob("*.py")):
        me = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if me not in ("__init__", "_public"):
            problems += violations(file, me)
    assert problems == []


def test_the_check_sees_a_violation(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text("def f():\n    import companion.models.bert\nfrom companion import GPT, nn\n", encoding="utf-8")
    assert sorted(violations(file, "nn")) == [
        "bad.py:2 nn must not import models",
        "bad.py:3 imports companion.GPT from the package itself; name the module it lives in",
    ]


IMPORT = """
import builtins, io, json, logging, os, socket, sys
import torch
before, torch_threads = set(sys.modules), torch.get_num_threads()
precision, seed = torch.get_float32_matmul_precision(), torch.initial_seed()
opened = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and not arguments[0].endswith((".py", ".pyc")):
        opened.append(arguments[0])
    if event.startswith(("socket", "subprocess", "urllib")):
        opened.append(event)
sys.addaudithook(watch)
import companion
assert not any(name.startswith("companion.") for name in sys.modules)
companion.attention
touched = list(opened)
assert torch.get_float32_matmul_precision() == precision and torch.initial_seed() == seed
assert torch.get_num_threads() == torch_threads and not logging.getLogger().handlers
new = {name.split(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(json.dumps({"new": sorted(new), "touched": touched, "all": sorted(companion.__all__)}))
"""


def test_importing_the_package_does_nothing_else():
    done = subprocess.run([sys.executable, "-W", "error", "-c", IMPORT], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    seen = json.loads(done.stdout)  # one line: the import itself printed nothing
    assert seen["new"] == ["companion"]
    assert seen["touched"] == []
    assert seen["all"] == sorted(companion.__all__)


def test_the_folders_of_the_package_are_there_when_it_is_imported():
    code = "import companion; print(companion.nn.masks.causal_mask is companion.causal_mask, hasattr(companion, 'no'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_public_names_exist_and_are_documented():
    for name in companion.__all__:
        assert getattr(companion, name).__doc__, f"{name} has no docstring"

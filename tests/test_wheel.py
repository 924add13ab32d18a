"""The installed package: all of its files are in the wheel, and a chapter that stands alone finds what it reads.

`make colab` goes further: it lets pip install the wheel into a new environment and runs a whole chapter there.
"""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOADED = re.compile(r"""load_(?:result\("[\w-]+"\)|cells\(\)|pretrained\("[\w-]+"\)|classifier\("[\w-]+"\))""")
ALONE = """
import json, sys
from pathlib import Path
import companion
assert Path(companion.__file__).is_relative_to(sys.argv[1]), companion.__file__
for name, code in json.load(sys.stdin).items():
    try:
        exec(code, {})
    except Exception as error:
        sys.exit(f"{name}: {type(error).__name__}: {error}")
    print(name)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what `pip install` puts into site-packages."""
    spec = importlib.util.spec_from_file_location("colab", ROOT / "book" / "tools" / "colab.py")
    assert spec and spec.loader
    colab = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(colab)
    out = tmp_path_factory.mktemp("wheel")
    zipfile.ZipFile(colab.build_wheel(out)).extractall(out / "site")
    return out / "site"


def files(folder: Path) -> set[str]:
    kept = (path for path in folder.rglob("*") if path.is_file() and not {"__pycache__", ".DS_Store"} & {*path.parts})
    return {path.relative_to(folder).as_posix() for path in kept}


def test_the_wheel_holds_every_file_of_the_package_and_the_recorded_runs(installed: Path) -> None:
    recorded = {f"results/{name}" for name in files(ROOT / "book" / "results") if Path(name).suffix == ".json"}
    assert recorded and files(installed / "companion") == files(ROOT / "companion") | recorded


def what_it_needs(chapter: Path) -> str:
    """The chapter's imports, and its calls that read a file of the book or of the package."""
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"][1:]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    nodes = [node for source in code for node in ast.parse(source).body]
    imports = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join([*imports, *(call for source in code for call in LOADED.findall(source))])


def test_a_chapter_alone_finds_all_that_it_imports_and_reads(installed: Path, tmp_path: Path) -> None:
    needs = {path.stem: what_it_needs(path) for path in sorted((ROOT / "book").glob("*.ipynb"))}
    assert "load_cells()" in needs["06_fine_tuning"] and 'load_result("parity")' in needs["04_positional_encoding"]
    environment = {**os.environ, "PYTHONPATH": str(installed), "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(installed)],
        **{"cwd": tmp_path, "env": environment, "input": json.dumps(needs)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(needs)

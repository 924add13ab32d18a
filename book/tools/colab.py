"""Run chapters as Colab does: each one alone in an empty folder, the package installed by its own first cell.

    make colab                           chapter 6, or: make colab CHAPTER=03_attention
    python book/tools/colab.py 03_attention 05_pretraining

A new environment gets what Colab has: torch and numpy, as requirements.txt pins them, and a kernel. The first cell of
the chapter then installs the package by its own command, from a wheel that is built here instead of the address on
GitHub; pip fetches what the package declares. Every code cell must run, and torch and numpy must stay as they were,
file by file. Exit status 1, and what failed, if not. Needs the network, and minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = "06_fine_tuning"
BUILT_FROM = ("companion", "book/results", "pyproject.toml", "README.md", "LICENSE")
PACKAGE = "large-models-companion"
THERE = ("torch", "numpy")  # in Colab before the chapter is opened, and to be left alone
KERNEL = "ipykernel"
INSTALL = re.compile(r"(%pip install\b[^\n]*?)\bgit\+https://github\.com/\S+")
#: What would lead the kernel back to this checkout, or to a reader's data.
OURS = ("PYTHON", "COMPANION_", "JUPYTER", "IPYTHON", "VIRTUAL_ENV", "MPL")
CELL_TIMEOUT = 1800  # seconds; the first cell installs
COLOR = re.compile(r"\x1b\[[0-9;]*m")
TAIL = 2000  # characters of a long message
LOOK = """
import hashlib, importlib.metadata, json, sys
seen = {}
for name in sys.argv[1:]:
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        continue
    files, digest = [f for f in found.files or () if "__pycache__" not in f.parts], hashlib.sha256()
    for file in sorted(files):  # its RECORD is among them
        digest.update(f"{file} {hashlib.sha256(file.locate().read_bytes()).hexdigest()}".encode())
    seen[name] = {"version": found.version, "files": len(files), "digest": digest.hexdigest()}
print(json.dumps(seen))
"""


class Failed(Exception):
    """A chapter does not run as it would have to; the message says where."""


def pins(names: Sequence[str], requirements: str) -> list[str]:
    """The lines ``name==version`` of requirements.txt, without comments."""
    found = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", requirements, flags=re.MULTILINE))
    if missing := [name for name in names if name not in found]:
        raise Failed(f"requirements.txt pins no {', '.join(missing)}")
    return [f"{name}=={found[name]}" for name in names]


def from_wheel(source: str, wheel: Path) -> str:
    """The first cell of a chapter, its command as it stands but for the address, which becomes the wheel."""
    given, n = INSTALL.subn(lambda match: match[1] + shlex.quote(wheel.as_posix()), source)
    if n != 1:
        raise Failed(f"the first cell should install the package from GitHub by %pip, once; it says:\n{source}")
    return given


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What an installation did to the packages that were there: a sentence for each that is not as it was."""
    said = []
    for name, was in before.items():
        now = after.get(name)
        if now is None:
            said.append(f"{name} {was['version']} was removed")
        elif now["version"] != was["version"]:
            said.append(f"{name} was {was['version']} and is {now['version']}")
        elif now != was:
            said.append(f"{name} {was['version']} has other files than before")
    return said


def outside(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment variables, without what belongs to this checkout."""
    return {k: v for k, v in environment.items() if not k.startswith(OURS)} | {"PYTHONUTF8": "1"}


def build_wheel(out: Path) -> Path:
    """The package's wheel, built from a copy, so that nothing of an earlier build gets into it."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        for name in BUILT_FROM:
            (source / name).parent.mkdir(exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(ROOT / name, source / name)
        code = "import setuptools.build_meta, sys; setuptools.build_meta.build_wheel(sys.argv[1])"
        checked([sys.executable, "-c", code, str(out)], "building the wheel", cwd=source)
    (wheel,) = out.glob("*.whl")
    return wheel


def checked(command: list[str], what: str, **options: Any) -> str:
    """What a command prints; its last words and ``what`` in the error if it fails."""
    said = {"capture_output": True, "encoding": "utf-8", "errors": "replace"}
    done = subprocess.run(command, check=False, **said, **options)
    if done.returncode != 0:
        raise Failed(f"{what} failed:\n{(done.stdout + done.stderr).strip()[-TAIL:]}")
    return done.stdout


def python_of(folder: Path) -> str:
    """The interpreter of a virtual environment."""
    return str(folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))


def make_environment(folder: Path) -> None:
    """A virtual environment with what Colab has, and nothing of ours."""
    wanted = pins([*THERE, KERNEL], (ROOT / "requirements.txt").read_text(encoding="utf-8"))
    environment = outside(os.environ)
    checked([sys.executable, "-m", "venv", str(folder)], "making a virtual environment", env=environment)
    install = [python_of(folder), "-m", "pip", "install", "--quiet", "--no-compile", *wanted]
    checked(install, f"installing {' '.join(wanted)}", env=environment)
    if PACKAGE in look(folder, PACKAGE):
        raise Failed(f"{PACKAGE} is in the new environment before any chapter installs it")


def look(folder: Path, *names: str) -> dict[str, Any]:
    """Version, number of files and digest of those of the packages that an environment has."""
    said = checked([python_of(folder), "-I", "-c", LOOK, *names], f"looking at {', '.join(names)}")
    seen: dict[str, Any] = json.loads(said)
    return seen


class Session:
    """A chapter in a kernel of an environment, alone in a folder."""

    def __init__(self, notebook: NotebookNode, environment: Path, folder: Path) -> None:
        kernels = environment / "kernels"
        (kernels / "colab").mkdir(parents=True)
        arguments = [python_of(environment), "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=40"]
        spec = {"argv": arguments, "display_name": "Colab", "language": "python"}
        (kernels / "colab" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        specs = KernelSpecManager(kernel_dirs=[str(kernels)], ensure_native_kernel=False)
        self.environment, self.folder, self.notebook = environment, folder, notebook
        self.client = NotebookClient(
            notebook, km=AsyncKernelManager(kernel_name="colab", kernel_spec_manager=specs), timeout=CELL_TIMEOUT
        )
        self.seconds: list[float] = []

    def run(self) -> None:
        """Execute every code cell, in order.

        Raises:
            Failed: a cell did, or the first one installed nothing.
        """
        asyncio.run(self._run())

    async def _run(self) -> None:
        where = {"env": outside(os.environ), "cwd": str(self.folder)}
        async with self.client.async_setup_kernel(**where, cleanup_kc=True):
            for index, cell in enumerate(self.notebook.cells):
                if cell.cell_type != "code":
                    continue
                began = time.perf_counter()
                try:
                    await self.client.async_execute_cell(cell, index)
                except (CellControlSignal, DeadKernelError) as error:
                    told = COLOR.sub("", getattr(error, "traceback", "") or str(error)).strip()
                    raise Failed(f"cell {cell.id}: {told[-TAIL:]}") from error
                if not self.seconds and PACKAGE not in look(self.environment, PACKAGE):
                    raise Failed(f"cell {cell.id} did not install {PACKAGE}:\n{printed(cell)[-TAIL:]}")
                self.seconds.append(time.perf_counter() - began)


def printed(cell: NotebookNode) -> str:
    """What a cell printed."""
    return "".join(output.get("text", "") for output in cell.outputs).strip()


def run_chapter(chapter: str, wheel: Path, base: Path, work: Path) -> None:
    """Run a chapter in a copy of the base environment, and say how it went.

    Raises:
        Failed: it did not run, or it changed what was there.
    """
    environment, folder = work / "environment", work / "content"
    shutil.copytree(base, environment, symlinks=True)
    folder.mkdir()
    name = f"{chapter}.ipynb"
    shutil.copyfile(ROOT / "book" / name, folder / name)
    notebook = nbformat.read(folder / name, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    first.source = from_wheel(first.source, wheel)
    before, session, problems = look(environment, *THERE), Session(notebook, environment, folder), []
    try:
        session.run()
    except Failed as error:
        problems.append(str(error))
    problems += [f"what was there is changed: {said}" for said in changes(before, look(environment, *THERE))]
    if problems:
        raise Failed("\n".join(problems))
    installed, ran = session.seconds[0], sum(session.seconds[1:])
    n = sum(cell.cell_type == "code" for cell in notebook.cells)
    print(f"{chapter}: its first cell installed the package ({installed:.0f} s)")
    print(f"{chapter}: {len(session.seconds)} of {n} code cells ran ({ran:.0f} s without the first)")
    kept = (f"{name} {was['version']}, {was['files']:,} files" for name, was in before.items())
    print(f"{chapter}: unchanged: {'; '.join(kept)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    there = sorted(path.stem for path in (ROOT / "book").glob("*.ipynb"))
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help=f"of {', '.join(there)} (default: {CHAPTER})")
    chapters = parser.parse_args(arguments).chapters or [CHAPTER]
    if unknown := [chapter for chapter in chapters if chapter not in there]:
        parser.error(f"no chapter {', '.join(unknown)}; choose from {', '.join(there)}")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="colab-") as folder:
        work = Path(folder)
        try:
            began = time.perf_counter()
            wheel = build_wheel(work)
            print(f"built {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB ({time.perf_counter() - began:.0f} s)")
            began = time.perf_counter()
            make_environment(work / "base")
            has = ", ".join(f"{name} {seen['version']}" for name, seen in look(work / "base", *THERE, KERNEL).items())
            print(f"a new environment has {has} ({time.perf_counter() - began:.0f} s)", flush=True)
        except Failed as error:
            print(f"colab: {error}", file=sys.stderr)
            return 1
        for chapter in chapters:
            (work / chapter).mkdir(exist_ok=True)
            try:
                run_chapter(chapter, wheel, work / "base", work / chapter)
            except Failed as error:
                failed += 1
                print(f"colab: {chapter}: {error}", file=sys.stderr, flush=True)
            shutil.rmtree(work / chapter)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

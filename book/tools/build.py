"""Build the book into _build/html and say where it is: `make book`, or `python book/tools/build.py`.

Warnings are errors. The site is built beside the old one and then put in its place, so a build that fails leaves the
old site as it was. Nothing is executed: the pages show the outputs stored in the notebooks.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START = "book/intro.html"  # the landing page
INDEX = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Large Models from Scratch</title>
<meta http-equiv="refresh" content="0; url={START}">
<link rel="canonical" href="{START}">
<p><a href="{START}">Large Models from Scratch</a></p>
</html>
"""


def jupyter_book(output: Path, toc: Path) -> subprocess.CompletedProcess[str]:
    """Run Jupyter Book afresh: from its cache it would not repeat the warnings of an earlier, failed build."""
    # What the command jupyter-book does, wherever that is. A build makes a million small objects and keeps most of them
    # to its end: looking for garbage in between cost a seventh of the time.
    run_main = "import gc; gc.disable(); from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", run_main, "build", str(ROOT), "--path-output", str(output)]
    command += ["--toc", str(toc), "-W", "-n", "--keep-going", "--all", "-q"]
    environment = {**os.environ, "PYTHONUTF8": "1", "NO_COLOR": "1"}
    said = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8", "errors": "replace"}
    return subprocess.run(command, check=False, cwd=ROOT, env=environment, **said)


def put_in_place(new: Path, site: Path, spare: Path) -> None:
    """Let the new site take the old one's place."""
    if site.exists():
        site.rename(spare)
    new.rename(site)


def build(toc: Path) -> int:
    """Build, and give the exit status: 0 only for a site without a warning."""
    began = time.perf_counter()
    (ROOT / "_build").mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="book-", dir=ROOT / "_build"))
    site = ROOT / "_build" / "html"
    try:
        done = jupyter_book(work, toc)
        new = work / "_build" / "html"
        if done.returncode != 0 or not (new / START).is_file():
            print(done.stdout)
            print("The book was not built: see the warnings and errors above.", file=sys.stderr)
            return done.returncode or 1
        (new / "index.html").write_text(INDEX, encoding="utf-8", newline="\n")
        put_in_place(new, site, work / "old")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"The book is built, in {time.perf_counter() - began:.1f} s. Open {(site / 'index.html').as_uri()}")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toc", type=Path, default=ROOT / "_toc.yml", help="another table of contents than _toc.yml")
    sys.exit(build(parser.parse_args().toc.resolve()))

"""The repository's address: every copy agrees, and one command changes them all and nothing else."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted(path.name for path in (ROOT / "book").glob("[0-9][0-9]_*.ipynb"))
LINKS_BACK = ["README.md", "CONTRIBUTING.md", "CITATION.cff", "_config.yml", "book/intro.md"]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("set_repository", ROOT / "book" / "tools" / "set_repository.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tool: ModuleType, tmp_path: Path) -> Path:
    """A copy of the project's text files."""
    for file in tool.files(ROOT):
        target = tmp_path / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return tmp_path


def check_agreement(root: Path, url: str) -> None:
    """Every place that needs the address has this one."""
    for name in LINKS_BACK:
        assert url in (root / name).read_text(encoding="utf-8"), name
    assert yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"] == url
    assert yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))["repository-code"] == url
    for name in CHAPTERS:
        cells = json.loads((root / "book" / name).read_text(encoding="utf-8"))["cells"]
        installs = re.findall(r"git\+(\S+)", "".join(cells[0]["source"]))
        assert installs == [url], name


def test_copies_agree(tool: ModuleType) -> None:
    check_agreement(ROOT, tool.current(ROOT))


@pytest.mark.parametrize("end", ["", "/", ".git"])
def test_one_command_changes_every_copy_and_nothing_else(tool: ModuleType, copy: Path, end: str) -> None:
    old, new = tool.current(ROOT), "https://github.com/Some-One" + "/my.fork_2"  # in two, or this too would be found
    before = {file: file.read_bytes() for file in tool.files(copy)}
    changed = tool.set_repository(copy, new + end)

    assert tool.current(copy) == new
    check_agreement(copy, new)
    slug, new_slug = (url.removeprefix("https://github.com/").encode() for url in (old, new))
    for file, content in before.items():
        assert (file in changed) == (file.read_bytes() != content), file
        assert file.read_bytes().replace(new_slug, slug) == content, file
        # Not one copy is left, in whatever kind of link it stands.
        assert not re.search(rb"(?i)[./]\w+/(?:github/|v2/gh/)?" + slug, file.read_bytes()), file
    assert tool.set_repository(copy, new) == []


def test_other_addresses_stay(tool: ModuleType, tmp_path: Path) -> None:
    """Only this repository's address changes: not a longer name, not another owner, not the words alone."""
    (tmp_path / "pyproject.toml").write_text('[project.urls]\nRepository = "https://github.com/a/b"\n', "utf-8")
    same = "see https://github.com/a/bc and https://github.com/x/b, an a/b test, https://github.com/a/b-c\r\n"
    (tmp_path / "page.md").write_bytes(same.encode() + b"https://github.com/a/b.\r\n")
    (tmp_path / "_build").mkdir()
    (tmp_path / "_build" / "page.md").write_text("https://github.com/a/b", "utf-8")
    tool.set_repository(tmp_path, "https://github.com/c/d")
    assert (tmp_path / "page.md").read_bytes() == same.encode() + b"https://github.com/c/d.\r\n"
    assert (tmp_path / "_build" / "page.md").read_text("utf-8") == "https://github.com/a/b"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "OWNER/NAME",
        "github.com/a/b",
        "http://github.com/a/b",
        "https://gitlab.com/a/b",
        "https://github.com/a",
        "https://github.com/a/b/tree/main",
        "https://github.com/-a/b",
        "https://github.com/a/..",
        "https://github.com/a/b?x=1",
        "https://github.com/a b/c",
        "git@github.com:a/b.git",
    ],
)
def test_a_bad_address_is_refused(tool: ModuleType, copy: Path, url: str) -> None:
    before = {file: file.read_bytes() for file in tool.files(copy)}
    with pytest.raises(ValueError, match=r"got .*; expected an address like https://github\.com/OWNER/NAME; copy"):
        tool.set_repository(copy, url)
    assert {file: file.read_bytes() for file in tool.files(copy)} == before


def test_the_command_says_what_it_needs(tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([]) == 2
    assert "make repository URL=" in capsys.readouterr().err
    assert tool.main(["nowhere"]) == 2
    assert "got 'nowhere'; expected" in capsys.readouterr().err

import gzip
import re

import pytest

from companion.widgets import bundle as source

KB = 1000  # the stricter reading of a kilobyte


def gzipped(text: str) -> int:
    return len(gzip.compress(text.encode(), 9))


def test_a_widget_is_one_module_that_imports_nothing():
    for name in source.widget_names():
        module = source.module(name)
        assert module.endswith("export default { render };")
        assert len(re.findall(r"^export\b", module, re.MULTILINE)) == 1
        assert source.IMPORT.search(module) is None


def test_sizes():
    for name in source.widget_names():
        assert gzipped(source.module(name)) <= 12 * KB, name
    assert gzipped(source.bundle()) <= 40 * KB


def test_a_module_declares_no_name_twice():
    for name in source.widget_names():
        scripts = [
            (source.HERE / f"{part}.js").read_text(encoding="utf-8") for part in [*source.shared_by([name]), name]
        ]
        declared = re.findall(r"^(?:const|let|class) (\w+)", "\n".join(scripts), re.MULTILINE)
        assert len(declared) == len(set(declared)), name


def test_a_module_holds_what_it_uses_and_no_more():
    scripts = {part: (source.HERE / f"{part}.js").read_text(encoding="utf-8") for part in source.SHARED}
    assert "matmul" in scripts["core"] and "const matmul=" in source.module("attention_bench")
    text = source.module("path_length")
    assert "matmul" not in text and "const slider=" in text and "const chartSvg=" in text


def test_the_bundle_is_the_same_every_time_and_holds_every_widget():
    text = source.bundle()
    assert text == source.bundle()
    assert re.findall(r"^modules\.(\w+) = ", text, re.MULTILINE) == source.widget_names()
    assert "export" not in re.sub(r'"[^"]*"', "", text)


def test_a_bundle_of_some_widgets():
    text = source.bundle(["attention_bench"])
    assert re.findall(r"^modules\.(\w+) = ", text, re.MULTILINE) == ["attention_bench"]
    with pytest.raises(ValueError, match="there is no widget 'attention_bank'; choose from"):
        source.bundle(["attention_bank"])


@pytest.mark.parametrize(
    "line",
    ['import { x } from "./x.js";', 'import "./x.js"', 'const x = await import("./x.js");', 'export * from "./x.js";'],
)
def test_a_module_that_loads_another_is_refused(line):
    with pytest.raises(ValueError, match=r"mine\.js loads another module \(line 2\)"):
        source.check_script("mine", f"// mine\n{line}\n")


def test_a_module_must_end_in_the_export(monkeypatch, tmp_path):
    for name in ("core", "grid", "host"):
        (tmp_path / f"{name}.js").write_text(f"// {name}\nconst {name} = 1;\n", encoding="utf-8")
    (tmp_path / "mine.js").write_text("// uses: core grid\nconst render = () => {};\n", encoding="utf-8")
    monkeypatch.setattr(source, "HERE", tmp_path)
    with pytest.raises(ValueError, match=r"mine\.js must end in one line .* found 0"):
        source.bundle(["mine"])
    (tmp_path / "mine.js").write_text("// uses: core grids\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"mine\.js must begin with `// uses: ` and some of .*; got \['core', 'grids'\]"
    ):
        source.bundle(["mine"])


def test_compacting_changes_no_text():
    # A text that spans lines would lose its indentation; each file is checked for it.
    for text in ("const a = `one\n  two`;\n", 'const a = "one // two";\n'):
        with pytest.raises(ValueError, match=r"spans lines, or holds ' // ' \(line 1\)"):
            source.check_script("mine", text)
    assert source.compact('  a("http://b"); // why\n\n // gone\n') == 'a("http://b");'


@pytest.mark.parametrize(
    ("line", "short"),
    [
        ('x = y ? "a : b" : z;', 'x=y?"a : b":z;'),
        ("const [a, b] = f(`${a - 1} of ${b}`, ' - ');", "const[a,b]=f(`${a - 1} of ${b}`,' - ');"),
        ("return i < n / 2 && !j;", "return i<n/2&&!j;"),
        *[(kept, kept) for kept in ("a + +b", "a - --b", "a < !--b", "s.split(/ - /)", 'f("\\" + ", a + b)')],
        *[(kept, kept) for kept in ("f(`${a ? `${b} - c` : d}`)", "export default { render };")],
    ],
)
def test_spaces_are_left_out_where_they_say_nothing(line, short):
    assert source.compact(f"  {line}\n") == short


def test_the_style_sheet_touches_nothing_but_widgets():
    css = re.sub(r"/\*.*?\*/", "", source.stylesheet(), flags=re.DOTALL)
    selectors = [part.strip() for part in re.findall(r"([^{}]+)\{", css) if not part.strip().startswith("@")]
    assert len(selectors) > 50
    for selector in selectors:
        assert ".lm-widget" in selector or "data-afm" in selector, selector
    assert "url(" not in css and "@import" not in css

"""The scripts and the style sheet of the interactive figures, as text: for a kernel, and for the static page.

A widget's script is what it needs of the shared ones that its first line names (``// uses: core grid``), followed by
its own file. It imports nothing, so the same text is an ES module for anywidget and, with its export turned into an
entry of a table, part of one classic script for pages that are opened from a folder, where modules do not load.
"""

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from companion.errors import require

HERE = Path(__file__).parent
SHARED = ("core", "cividis", "edit", "grid", "heat", "chart", "exits")  # in the order in which they must stand
HOST = "host"
USES = re.compile(r"// uses: ([a-z ]+)\n")
EXPORT = re.compile(r"^export default \{([^}]*)\};?\s*$", re.MULTILINE)
# Every way to fetch another module: a statement, a re-export, a call.
IMPORT = re.compile(r"^\s*import\b|\bimport\s*\(|^\s*export\b[^;\n]*\bfrom\b|\brequire\s*\(", re.MULTILINE)
LINE_END = re.compile(r"([,;({\[])\n(?!export)")  # never needed, but the export stands on a line of its own
STATEMENT = re.compile(r"^(?=(?:const|class|if) )", re.MULTILINE)  # one at the left margin begins here
NAMED = re.compile(r"const (\w+) = (?:[({]|\w+ =>)")  # a function or a table of its own: nothing is lost without it
COMMENT = re.compile(r"(?:^|(?<=\s))// .*$")  # a text with a space, two slashes and a space is not allowed
TEXT = re.compile(r"""("[^"]*"|'[^']*'|`[^`]*`)""")
SPACED = re.compile(r" ?([=+*/<>?:&|,;(){}\[\]-]) ?")  # a sign that needs no space on either side
KEPT = re.compile(r"[+-] [+-]|!--|\\|\S/|/\S|^export\b")  # a + +b, a regular expression, the last line


def widget_names() -> list[str]:
    """The widgets that there are, by the names of their modules.

    >>> "attention_bench" in widget_names()
    True
    """
    return sorted(file.stem for file in HERE.glob("*.js") if file.stem not in (*SHARED, HOST))


def compact(source: str) -> str:
    r"""Leave out comments of the kind ``// why``, indentation, line ends after a comma, a semicolon or a bracket, and
    the spaces around signs.

    >>> compact("// why\nconst f = () => {\n  return 1; // one\n};\n")
    'const f=()=>{return 1;};'
    """
    lines = (without_spaces(COMMENT.sub("", line).strip()) for line in source.splitlines())
    return LINE_END.sub(r"\1", "\n".join(filter(None, lines)))


def without_spaces(line: str) -> str:
    r"""A line without the spaces around its signs; what stands in quotes keeps its own.

    A line is left alone where that is not easy to tell: with a text inside a text, a quote inside its own kind, or a
    regular expression.

    >>> without_spaces('const say = (a, b) => `${a} = ${b}` + " = " + a / b;')
    'const say=(a,b)=>`${a} = ${b}`+" = "+a/b;'
    >>> without_spaces("a = b.replace(/ = /, c)"), without_spaces("f(`${a ? `${b} - c` : d}`)")
    ('a = b.replace(/ = /, c)', 'f(`${a ? `${b} - c` : d}`)')
    """
    parts = TEXT.split(line)  # code, text, code, text, ..., code
    nested = any(text.count("${") != text.count("}") for text in parts[1::2] if text[0] == "`")
    if nested or re.search(r"\\[\"'`]", line) or any(KEPT.search(code) for code in parts[::2]):
        return line
    return "".join(part if i % 2 else SPACED.sub(r"\1", part) for i, part in enumerate(parts))


def read_script(name: str) -> str:
    """The text of one script, compact.

    Raises:
        ValueError: there is no such script, it loads another module, or a text in it spans lines.
    """
    file = HERE / f"{name}.js"
    require(file.is_file(), f"there is no widget {name!r}; choose from {widget_names()}")
    source = file.read_text(encoding="utf-8")
    check_script(name, source)
    return compact(source)


def check_script(name: str, source: str) -> None:
    """Refuse what would not run from a folder, or what :func:`compact` would change.

    >>> check_script("mine", 'import { x } from "./x.js";')
    Traceback (most recent call last):
    ...
    ValueError: mine.js loads another module (line 1); put the code into core.js or into mine.js itself
    """
    found = IMPORT.search(source)
    line = source.count("\n", 0, found.start()) + 1 if found else 0
    require(
        found is None,
        f"{name}.js loads another module (line {line}); put the code into core.js or into {name}.js itself",
    )
    for number, text in enumerate(source.splitlines(), 1):
        comment = COMMENT.search(text)
        code = text[: comment.start()] if comment else text
        require(
            all(code.count(quote) % 2 == 0 for quote in '`"'),
            f"{name}.js has a text that spans lines, or holds ' // ' (line {number}); join shorter ones with +",
        )


def shared_by(names: Iterable[str]) -> list[str]:
    """The shared scripts that these widgets use.

    Raises:
        ValueError: a widget does not say which it uses, or names one that there is not.
    """
    used: set[str] = set()
    for name in names:
        read_script(name)  # there is such a widget
        found = USES.match((HERE / f"{name}.js").read_text(encoding="utf-8"))
        wanted = found[1].split() if found else []
        require(
            bool(wanted) and set(wanted) <= set(SHARED),
            f"{name}.js must begin with `// uses: ` and some of {list(SHARED)}; got {wanted}",
        )
        used.update(wanted)
    return [name for name in SHARED if name in used]


def without_unused(shared: str, rest: str) -> str:
    r"""Shared scripts without what neither they nor the rest use: no widget pays for another's.

    >>> without_unused("const f = (x) => x;\nconst g = () => 1;\nconst k = () => g();\n", "f(2)")
    'const f = (x) => x;\n'
    """
    statements = STATEMENT.split(shared)
    while True:
        words = Counter(word for text in (*statements, rest) for word in _words(text))
        kept = [s for s in statements if not (found := NAMED.match(s)) or words[found[1]] > 1]
        if len(kept) == len(statements):
            return "".join(kept)
        statements = kept


@cache
def _words(source: str) -> frozenset[str]:
    """The names and words of a script, but for its comments."""
    return frozenset(re.findall(r"\w+", compact(source)))


def shared_text(names: Iterable[str], rest: str) -> str:
    """What these widgets use of the shared scripts, compact; ``rest`` is the text of everything else."""
    names = shared_by(names)
    for name in names:
        read_script(name)  # nothing in it is refused
    sources = [(HERE / f"{name}.js").read_text(encoding="utf-8") for name in names]
    return compact(without_unused("\n".join(sources), rest))


def module(name: str) -> str:
    """One widget as an ES module without imports, ending in ``export default { render };``."""
    own = read_script(name)
    return f"{shared_text([name], own)}\n{own}"


def bundle(names: Iterable[str] | None = None) -> str:
    """The static page's script: shared code, the named widgets (by default all), and the host that boots them.

    It is a classic script: it works over http and from a folder. Nothing leaks but ``window.lmWidgets``.

    Raises:
        ValueError: a widget does not exist, loads another module, or does not end in ``export default { render };``.
    """
    chosen = sorted(set(widget_names() if names is None else names))
    own = {name: read_script(name) for name in chosen}
    shared = shared_text(chosen, "\n".join([*own.values(), read_script(HOST)]))
    parts = ["(() => {", '"use strict";', shared, "const modules = window.lmWidgets = {};"]
    for name in chosen:
        body, count = EXPORT.subn(r"return {\1};", own[name])
        require(count == 1, f"{name}.js must end in one line `export default {{ render }};`; found {count} such lines")
        parts.append(f"modules.{name} = (() => {{\n{body}\n}})();")
    return "\n".join([*parts, read_script(HOST), "})();"]) + "\n"


def stylesheet() -> str:
    """The style sheet of all widgets; every rule of it stands under ``.lm-widget``."""
    return (HERE / "widgets.css").read_text(encoding="utf-8")

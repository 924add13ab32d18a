"""Find the numbers in Markdown prose and in outputs.

What is no statement of the prose (link targets, citation keys, options, references to sections, years, code fences) is
overwritten with blanks first, so every number keeps its place in the source.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

# Directives whose content is no prose. Every other directive is a frame around prose.
CODE_DIRECTIVES = {"code", "code-block", "code-cell", "sourcecode", "literalinclude", "mermaid", "raw", "eval-rst"}
CODE_DIRECTIVES |= {"toctree", "tableofcontents", "bibliography", "include", "parsed-literal", "testcode", "doctest"}
# Directives whose argument is a path or a name.
NAMED_DIRECTIVES = {"figure", "image", "table-of-contents", "math", "solution", "solution-start", "solution-end"}
# Roles whose content is a key and not prose.
KEY_ROLES = r"(?:cite(?::\w+)?|numref|eq|doc|download|prf:ref|label|py:\w+|class|func|meth|mod|attr)"

FENCE = re.compile(r"^[ \t]*(?P<marks>`{3,}|~{3,}|:{3,})[ \t]*(?:\{(?P<name>[\w:.-]+)\})?(?P<rest>.*)$")
OPTION = re.compile(r"^[ \t]*:[\w-]+:.*$")
INLINE_MASKS = [
    re.compile(r"<!--.*?-->", re.S),
    re.compile(r"\{" + KEY_ROLES + r"\}(`+)[^`]*\1"),
    re.compile(r"\{ref\}`[^`<]*`"),
    re.compile(r"(?<=\})`[^`<]*(?P<hit><[^`>]*>)`"),  # the target of {ref}`words <target>`
    re.compile(r"\]\((?P<hit>(?:<[^>\n]*>|(?:[^()\s]|\([^()]*\))*)(?:\s+\"[^\"]*\")?)\)"),  # [words](target)
    re.compile(r"^[ \t]*\[[^\]\n]+\]:[^\n]*$", re.M),  # [name]: target
    re.compile(r"(?<=\])\[[^\]\n]*\]"),  # [words][name]
    re.compile(r"\[\^[^\]\n]+\]"),
    re.compile(r"</?[A-Za-z][^<>]*>"),
    re.compile(r"<?\b(?:https?|ftp|mailto):[^\s>)`]+>?"),
    re.compile(r"\b(?:arXiv|doi):\s*[\w./-]+", re.I),
    re.compile(r"&#?\w+;"),
    re.compile(r"^\([\w.-]+\)=[ \t]*$", re.M),
    re.compile(r"^[ \t]*%.*$", re.M),  # a MyST comment
    re.compile(r"^(?:#{1,6}[ \t]+)(?P<hit>[0-9]+(?:\.[0-9]+)*\.?)(?=\s)", re.M),  # a numbered heading
    re.compile(r"^[ \t]*(?:>[ \t]*)*(?P<hit>[0-9]+[.)])(?=\s)", re.M),  # a numbered list
]
_REF = r"[0-9]+(?:\.[0-9]+)*(?![0-9]|\.[0-9]|\s*%)"
REFERENCES = [
    # Only a plural is followed by a list: in "table 3, 200 words" the 200 is a number.
    re.compile(
        r"(?:\b(?:sections|chapters|equations|eqs\.|figures|figs\.|tables|pages|pp\.|exercises)|§§)\s*"
        rf"(?P<hit>\(?{_REF}\)?(?:\s*(?:,|,? and|,? or|to|-|–)\s*\(?{_REF}\)?)*)",
        re.I,
    ),
    re.compile(
        r"(?:\b(?:section|sec\.|chapter|ch\.|equation|eq\.|figure|fig\.|table|tab\.|page|p\.|exercise|appendix|"
        rf"volume|vol\.)|§)\s*(?P<hit>\(?{_REF}\)?)",
        re.I,
    ),
    re.compile(r"(?<![\w.])(?:19|20)[0-9]{2}s?(?![\w%]|\.[0-9]|,[0-9]{3}\b|\s*%)"),  # years and decades
    re.compile(r"(?<![\w.])v?[0-9]+(?:\.[0-9]+){2,}\w*", re.A),  # 1.0.4
    re.compile(r"\b(?:Python|PyTorch|torch|NumPy|CUDA|CC[ -]BY|Apache)[ -]v?(?P<hit>[0-9]+(?:\.[0-9]+)+)\b"),
]
MATH = re.compile(
    r"(?<!\\)\$\$(?P<a>.+?)\$\$"
    r"|\\begin\{(?P<env>[a-z]+\*?)\}(?P<b>.*?)\\end\{(?P=env)\}"
    r"|(?<![\\$\w])\$(?=[^\s$])(?P<c>[^$]*?[^\s$\\])\$(?![0-9$])",
    re.S,
)
CODE = re.compile(r"(?<!`)(`+)(?!`)(?P<hit>.+?)(?<!`)\1(?!`)", re.S)
MATH_ROLE = re.compile(r"\{math\}(?P<hit>`[^`]+`)")
# In formulas: what is no number though it holds digits, then every control word.
TIMES = re.compile(r"\\(?:times|cdot)(?![A-Za-z])")
MATH_MASKS = [
    re.compile(r"\\(?:tag|label|ref|eqref|hspace|vspace|begin|end|kern|mkern|hskip)\*?\{[^}]*\}(?:\{[clr|]*\})?"),
    re.compile(r"\\\\\[[^\]]*\]"),
    re.compile(r"\\(?!%|,)(?:[A-Za-z]+|.)"),
]

SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_POWER = r"10\s*(?:\^\s*\{?\s*(?P<N1>[-−+]?\s*[0-9]+)\s*\}?|\*\*\s*(?P<N2>[-−+]?[0-9]+)|(?P<N3>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+))"
NUMBER = (
    r"(?P<sign>[-−]?)(?:"
    + _POWER.replace("<N", "<p")  # 10^{-19}
    + r"|(?P<mantissa>[0-9]{1,3}(?:SEPARATOR[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    + r"(?:[eE](?P<e>[-−+]?[0-9]+)(?![0-9])|\s*[×*]\s*"  # 3.75e-19, 3.75 × 10⁻¹⁹
    + _POWER.replace("<N", "<q")
    + r")?)(?P<percent>\s*(?:\\?%|percent\b|per\scent\b))?"
)
SEPARATORS = {"text": r"(?:,|\{,\})", "math": r"(?:\{,\}|\\,)", "code": r"_"}
PATTERNS = {kind: re.compile(NUMBER.replace("SEPARATOR", sep)) for kind, sep in SEPARATORS.items()}
DIGIT, LETTER, NAME_REST = re.compile(r"\.?[0-9]"), re.compile(r"[A-Za-zÀ-ɏΑ-ω_]"), re.compile(r"[\w.]*[A-Za-z0-9_]")
ABOUT = re.compile(r"(?:about|roughly|nearly|almost|around|some|approximately|≈|~)\s*\$?\s*$")


@dataclass(frozen=True)
class Number:
    """A number as it is written: its value, the unit of its last digit, and where it stands."""

    text: str
    value: Decimal
    exponent: int  # the last digit stands for 10**exponent
    percent: bool = False
    about: bool = False
    start: int = 0
    end: int = 0

    @property
    def digits(self) -> int:
        """Significant digits, those of 0.0050 being two."""
        return len((self.value.scaleb(-self.exponent)).to_integral_value().as_tuple().digits) if self.value else 1

    @property
    def must_be_bound(self) -> bool:
        """A number with a decimal point (or a power of ten below one), a percentage, or an integer of 100 and more."""
        return self.percent or "." in self.text or self.exponent < 0 or abs(self.value) >= 100


def blank(text: str, start: int, end: int) -> str:
    """``text`` with blanks from start to end; line ends stay."""
    return text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]


def mask(text: str, pattern: re.Pattern[str]) -> str:
    """Blank every match of ``pattern``, or its group "hit" where it has one."""
    group: str | int = "hit" if "hit" in pattern.groupindex else 0
    for match in list(pattern.finditer(text)):
        text = blank(text, *match.span(group))
    return text


class Blocks:
    """Blanks front matter, code fences, fence lines and options, line by line, and notes where ```{math} blocks are."""

    def __init__(self, source: str) -> None:
        self.open: list[tuple[str, str | None, int]] = []  # marks, name, start of the content of the open fences
        self.options = ""  # "yes" at the head of a directive, "---" inside its yaml
        self.maths: list[tuple[int, int]] = []
        front = re.match(r"\A---\n.*?\n---\n", source, re.S)
        self.front, self.position, lines = front.end() if front else 0, 0, []
        for line in source.splitlines(keepends=True):
            end = self.position + len(line)
            keep_from = self.feed(line.rstrip("\r\n"), end)
            lines.append(blank(line, 0, len(line) if keep_from is None else keep_from))
            self.position = end
        self.text = "".join(lines)

    def feed(self, line: str, end: int) -> int | None:
        """From which column on the line is prose; None = nowhere."""
        if self.position < self.front:
            return None
        fence = FENCE.match(line)
        if fence and self.closes(fence):
            name, begin = self.open.pop()[1:]
            if name == "math":
                self.maths.append((begin, self.position))
            self.options = ""
            return None
        if self.open and (self.open[-1][1] is None or self.open[-1][1] in CODE_DIRECTIVES):
            return None
        if fence and (fence["name"] or fence["marks"][0] != ":"):
            self.open.append((fence["marks"], fence["name"], end))
            self.options = "yes"
            has_title = fence["name"] and fence["name"] not in NAMED_DIRECTIVES | CODE_DIRECTIVES
            return fence.start("rest") if has_title else None
        return None if self.is_option(line) else 0

    def closes(self, fence: re.Match[str]) -> bool:
        """Does this line end the innermost fence?"""
        if not self.open or fence["name"] or fence["rest"].strip():
            return False
        return fence["marks"][0] == self.open[-1][0][0] and len(fence["marks"]) >= len(self.open[-1][0])

    def is_option(self, line: str) -> bool:
        """Is this one of the options at the head of a directive?"""
        if self.options == "---":
            self.options = "" if line.strip() == "---" else "---"
            return True
        if self.options == "yes" and line.strip() == "---":
            self.options = "---"
            return True
        self.options = self.options if self.options and OPTION.match(line) else ""
        return bool(self.options)


def kinds(text: str, maths: list[tuple[int, int]]) -> list[str]:
    """For every character: does it stand in text, math or code?"""
    marked = ["text"] * len(text)

    def mark(span: tuple[int, int], kind: str) -> None:
        marked[span[0] : span[1]] = [kind] * (span[1] - span[0])

    hidden = text
    for match in MATH_ROLE.finditer(text):
        mark(match.span("hit"), "math")
        hidden = blank(hidden, *match.span())
    for match in CODE.finditer(hidden):
        mark(match.span(), "code")
        hidden = blank(hidden, *match.span())
    for span in [*maths, *(match.span() for match in MATH.finditer(hidden))]:
        mark(span, "math")
    return marked


def clean(source: str) -> tuple[str, list[str]]:
    """The prose of a Markdown source, the rest blanked, and the kind of each character."""
    blocks = Blocks(source)
    text = blocks.text
    for pattern in INLINE_MASKS:
        text = mask(text, pattern)
    kind = kinds(text, blocks.maths)
    for pattern in REFERENCES:
        group: str | int = "hit" if "hit" in pattern.groupindex else 0
        for match in list(pattern.finditer(text)):
            if kind[match.start(group)] == "text":
                text = blank(text, *match.span(group))
    return clean_math(text, kind), kind


def clean_math(text: str, kind: list[str]) -> str:
    """Blank the control words of formulas, and write every product as ×."""
    text = TIMES.sub(lambda m: "×".ljust(len(m[0])) if kind[m.start()] == "math" else m[0], text)
    for pattern in MATH_MASKS:
        for match in list(pattern.finditer(text)):
            if kind[match.start()] == "math":
                text = blank(text, *match.span())
    return text


def prose_numbers(source: str) -> Iterator[Number]:
    """Every number in the prose of a Markdown source."""
    text, kind = clean(source)
    yield from _numbers(text, kind)


def output_numbers(text: str, kind: str = "text") -> Iterator[Number]:
    """Every number in an output; kind is "math" for LaTeX."""
    kinds = [kind] * len(text)
    yield from _numbers(clean_math(text, kinds), kinds)


def _numbers(text: str, kind: list[str]) -> Iterator[Number]:
    position = 0
    while digit := DIGIT.search(text, position):
        here = digit.start()
        before = text[here - 1] if here else " "
        if kind[here] != "math" and LETTER.match(before):  # float64, N1, x_1: a name
            position = NAME_REST.search(text, here).end()  # type: ignore[union-attr]
            continue
        signed = before in "-−" and _unary(text, here - 1, kind[here])
        match = PATTERNS[kind[here]].match(text, here - signed)
        assert match, f"no number at {text[here : here + 20]!r}"
        position = match.end()
        yield _number(match, about=bool(ABOUT.search(text[max(0, here - 20) : here])))


def _unary(text: str, at: int, kind: str) -> bool:
    """Is the minus at this place a sign, and not a difference or a hyphen?"""
    before = text[:at].rstrip(" &") if kind == "math" and "&" not in text[max(0, at - 2) : at] else text[:at]
    return not (before and (before[-1].isalnum() or before[-1] in ")]}%'’`"))


def _number(match: re.Match[str], about: bool) -> Number:
    def exponent(name: str) -> str | None:
        return next((match[f"{name}{i}"] for i in (1, 2, 3) if match[f"{name}{i}"]), None)

    plain = exponent("p")
    mantissa = "1" if plain else re.sub(r"[^0-9.]", "", match["mantissa"])
    power = plain or match["e"] or exponent("q") or "0"
    shift = int(power.translate(SUPERSCRIPTS).replace("−", "-").replace(" ", ""))
    digits = Decimal(("-" if match["sign"] else "") + mantissa)
    last = digits.as_tuple().exponent
    assert isinstance(last, int)
    value = digits.scaleb(shift) + 0  # + 0: no minus zero
    percent = match["percent"] is not None
    return Number(match[0].strip(), value, last + shift, percent, about, match.start(), match.end())

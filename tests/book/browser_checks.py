"""What can be said about a built page only in a browser: each check takes a loaded page and returns what is wrong.

An empty list means sound. test_checkers.py feeds every check a page that it must refuse.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

# axe-core finds these in the theme itself: rule and place. The same finding anywhere else counts.
THEME_FINDINGS = {
    "label-content-name-mismatch": ".search-button__button, .theme-switch-button",
    "region": ".navbar-brand",
}
COLOR_RULES = ("color-contrast", "link-in-text-block")

# Only what failed is described. Finding a name for every element looked at would be most of the work.
AXE = """async ([context, known, options]) => (await axe.run(context || document, {
    resultTypes: ['violations'], preload: false, ...options,
})).violations.flatMap(rule => rule.nodes
    .filter(node => !(rule.id in known && document.querySelector(node.target[0]).closest(known[rule.id])))
    .map(node => [rule.id, node.target.join(' '), (node.failureSummary || rule.help).split('\\n').pop()].join(': ')))"""

# The drawing of a formula is hidden from screen readers and holds no text, but more elements than the rest of the page:
# its place stays, empty.
EMPTY_DRAWINGS = """() => {
    const drawn = [...document.querySelectorAll('mjx-math')].map(e => [e, e.getBoundingClientRect()]);
    for (const [e, box] of drawn) {
        e.style.cssText += `; display: inline-block; width: ${box.width}px; height: ${box.height}px`;
        e.replaceChildren();
    }
}"""

# Whether a text can be read follows from its color, size and weight, and from the grounds it stands on. Of a kind that
# agrees in all of these a few stand for the rest: the longest (axe judges no single characters), and shorter ones (of a
# long line of code, part may be out of sight). What may lie over something else, being positioned, is a kind of its own
# class; a link also depends on the text around it.
KINDS_OF_TEXT = """each => {
    const grounds = new Map([[null, '']]), kinds = new Map();
    const ground = e => {
        if (!grounds.has(e)) {
            const s = getComputedStyle(e), above = ground(e.parentElement);
            let own = [s.backgroundColor, s.backgroundImage, s.opacity, s.filter, s.mixBlendMode, s.clipPath].join();
            if (own === 'rgba(0, 0, 0, 0),none,1,none,normal,none') own = '';
            if (s.position !== 'static' || s.float !== 'none') own += ` ${s.position} ${e.tagName} ${e.className}`;
            grounds.set(e, own ? `${above} / ${own}` : above);
        }
        return grounds.get(e);
    };
    const look = (e, s = getComputedStyle(e)) =>
        [s.color, s.fontSize, s.fontWeight, s.fontStyle, s.fontFamily, s.textShadow, s.textDecoration, s.borderBottom,
         s.webkitTextFillColor, s.webkitTextStroke].join();
    const fields = 'input, select, textarea, button', disabled = '[disabled], [aria-disabled=true]';
    for (const e of document.querySelectorAll('body *')) {
        const words = [...e.childNodes].filter(c => c.nodeType === 3).map(c => c.data.trim()).join('');
        const link = e.matches('a, [role=link]');
        if (!(words || link || e.matches(fields)) || e.closest('mjx-container, script, style, title')) continue;
        if (!e.getClientRects().length || !e.checkVisibility({visibilityProperty: true})) continue;
        const kind = [ground(e), look(e), e.matches(fields) && e.tagName, !!e.closest(disabled),
            !!e.closest('label')?.control?.disabled];
        if (link) {
            let block = e.parentElement;
            while (getComputedStyle(block).display === 'inline') block = block.parentElement;
            const length = element => element.textContent.trim().length;
            const linked = [...block.querySelectorAll('a, [role=link]')].reduce((sum, a) => sum + length(a), 0);
            kind.push(look(e.parentElement), Math.sign(length(block) - linked - length(e)), length(block) > linked);
        }
        const key = kind.join(' | ');
        if (!kinds.has(key)) kinds.set(key, []);
        kinds.get(key).push([words.length, e]);
    }
    for (const group of kinds.values()) {
        group.sort((a, b) => b[0] - a[0]);
        for (let i = 0; i < each; i++) group[Math.floor(i * group.length / each)][1].dataset.looked = '';
    }
    return kinds.size;
}"""
EACH_KIND = 3  # texts looked at

# Axe works out what lies where for the whole page, however few the texts it is asked about. So all else goes: what
# stays are these texts with the lines they stand in, what they stand on, and what is positioned, as it may lie below.
OTHER_TEXTS = """() => {
    const kept = new Set();
    const keep = e => { for (; e && !kept.has(e); e = e.parentElement) kept.add(e); };
    for (let e of document.querySelectorAll('[data-looked]')) {
        while (e !== document.body && getComputedStyle(e).display.startsWith('inline')) e = e.parentElement;
        for (const inside of e.querySelectorAll('*')) kept.add(inside);
        keep(e.parentElement);
        kept.add(e);
    }
    const bare = 'rgba(0, 0, 0, 0) none';
    for (const e of document.querySelectorAll('body *')) {
        const s = getComputedStyle(e);
        if (s.position !== 'static' && `${s.backgroundColor} ${s.backgroundImage}` !== bare) keep(e);
    }
    const others = [...document.querySelectorAll('body *')].filter(e => !kept.has(e) && kept.has(e.parentElement));
    for (const e of others) e.remove();
}"""

SETTLE = """async () => {
    await document.fonts.ready;
    if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    const ending = document.getAnimations().filter(a => a.effect.getComputedTiming().endTime < 10000);
    await Promise.allSettled(ending.map(a => a.finished));
}"""

MATHS = """() => {
    const where = element => (element.closest('section[id]') || {id: '?'}).id;
    const wrong = [];
    for (const m of document.querySelectorAll('.math')) if (!m.querySelector('mjx-container'))
        wrong.push(`#${where(m)}: maths not rendered: ${m.textContent.slice(0, 60)}`);
    for (const m of document.querySelectorAll('mjx-merror, [data-mjx-error]'))
        wrong.push(`#${where(m)}: maths error: ${m.getAttribute('data-mjx-error') || m.textContent.slice(0, 60)}`);
    for (const m of document.querySelectorAll('mjx-container [style*="color: red"]'))
        wrong.push(`#${where(m)}: unknown TeX command: ${m.textContent.slice(0, 60)}`);
    return wrong;
}"""

# A piece that is wider than the page by itself cannot break.
SCROLLING = """() => [...document.querySelectorAll('mjx-container[display]')]
    .filter(box => box.scrollWidth > box.clientWidth + 1 &&
        ![...box.querySelectorAll('.lm-wraps > mjx-mrow > mjx-mrow')].some(e => e.offsetWidth > box.clientWidth))
    .map(box => `#${(box.closest('section[id]') || {id: '?'}).id}: a formula of ${box.scrollWidth} px`)"""

# Besides scrolling itself, name what sticks out: elements beyond the right edge that no frame of their own clips.
TOO_WIDE = """() => {
    const width = document.documentElement.clientWidth;
    if (document.scrollingElement.scrollWidth <= width) return [];
    const clipped = element => {
        for (let e = element.parentElement; e && e !== document.body; e = e.parentElement)
            if (getComputedStyle(e).overflowX !== 'visible') return true;
        return false;
    };
    const out = [...document.body.querySelectorAll('*')]
        .filter(e => e.getBoundingClientRect().right > width + 1 && !clipped(e))
        .map(e => `<${e.tagName.toLowerCase()} class="${e.getAttribute('class') || ''}"> ` +
                  `reaches ${Math.round(e.getBoundingClientRect().right)} px`);
    return [`${document.scrollingElement.scrollWidth} px wide in a window of ${width} px`, ...out.slice(-5)];
}"""

# Controls that a frame cuts off, or that stick out of their figure: the page does not grow, but they are hard to reach.
CUT = """() => {
    const wrong = [];
    for (const control of document.querySelectorAll('article :is(input, button, select, textarea)')) {
        const box = control.getBoundingClientRect();
        if (box.width < 2 || getComputedStyle(control).visibility === 'hidden') continue;
        for (let e = control.parentElement; e; e = e.parentElement) {
            const overflow = getComputedStyle(e).overflowX, frame = e.getBoundingClientRect();
            if (overflow === 'auto' || overflow === 'scroll') break;
            if (overflow === 'visible' && e !== document.body && !e.dataset.widget) continue;
            if (box.right > frame.right + 1 || box.left < frame.left - 1) {
                const name = control.ariaLabel || control.labels?.[0]?.innerText || control.innerText || control.type;
                wrong.push(`${name.trim()}: reaches ${Math.round(box.right)} px, cut at ${Math.round(frame.right)} px`);
                break;
            }
        }
    }
    return wrong;
}"""


def settle(page: Any) -> None:
    """Wait for what happens after loading: fonts, maths, one frame painted, and transitions."""
    page.evaluate(SETTLE)


def unready_widgets(page: Any, timeout: float = 10_000) -> list[str]:
    """Bring every widget into view; those that do not say data-ready="1" in time, or never painted."""
    wrong = []
    for holder in page.locator("[data-afm]").all():
        name = holder.get_attribute("data-afm")
        holder.scroll_into_view_if_needed()
        try:
            page.wait_for_function(
                "e => e.matches('[data-ready=\"1\"]') || e.querySelector('[data-ready=\"1\"]')",
                arg=holder.element_handle(),
                timeout=timeout,
            )
        except Exception as error:
            if "Timeout" not in str(error):
                raise
            wrong.append(f"{name}: not ready after {timeout / 1000:.0f} s")
            continue
        root = holder.evaluate(
            "e => { const r = e.matches('[data-ready]') ? e : e.querySelector('[data-ready]');"
            " return {widget: r.dataset.widget, rev: Number(r.dataset.rev)}; }"
        )
        if not root["widget"] or not (root["rev"] or 0) >= 1:
            wrong.append(f"{name}: ready, but data-widget and data-rev say {root}")
    return wrong


def unrendered_maths(page: Any) -> list[str]:
    """Formulas that MathJax did not set, did not understand, or set with an unknown command in red."""
    return page.evaluate(MATHS)


def scrolling_maths(page: Any) -> list[str]:
    """Formulas on a line of their own that are wider than the page, so that a part of them is out of sight."""
    return page.evaluate(SCROLLING)


def too_wide(page: Any, width: int, height: int = 800) -> list[str]:
    """What makes the page scroll sideways in a window of this width, or is cut off in it."""
    page.set_viewport_size({"width": width, "height": height})
    settle(page)
    return page.evaluate(TOO_WIDE) + page.evaluate(CUT)


@cache
def axe_source() -> str:
    """The text of axe-core. Its Python wrapper reads it in the machine's own encoding, which is not always UTF-8."""
    spec = importlib.util.find_spec("axe_playwright_python")
    assert spec and spec.origin
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def inaccessible(page: Any, *, colors_only: bool = False) -> list[str]:
    """What axe-core finds, by all its usual rules or by those about colors, but for the known findings in the theme.

    It leaves the formulas of the page without their drawings, and of the texts only those it has looked at.
    """
    page.evaluate(axe_source())
    page.evaluate(EMPTY_DRAWINGS)
    found = []
    if not colors_only:
        others = {"rules": {rule: {"enabled": False} for rule in COLOR_RULES}}
        found += page.evaluate(AXE, [None, THEME_FINDINGS, others])
    if page.evaluate(KINDS_OF_TEXT, EACH_KIND):
        page.evaluate(OTHER_TEXTS)
        colors = {"runOnly": {"type": "rule", "values": COLOR_RULES}}
        found += page.evaluate(AXE, ["[data-looked]", THEME_FINDINGS, colors])
    return found

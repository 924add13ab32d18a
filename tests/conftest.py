"""Fixtures for the tests that look at the built book in a browser.

The browser is the Chromium (or Chrome, or Edge) of the system, driven by Playwright; nothing is downloaded.
Every pytest-xdist worker has its own server and its own browser.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

# Before torch is imported: on tensors of a few numbers, waiting threads are all the cost (8x measured).
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples on every machine, and no deadline: two workers may share two slow cores.
settings.register_profile("book", deadline=None, derandomize=True, database=None)
settings.load_profile("book")

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_MS = 60_000  # generous: two workers may share two slow cores

# The first is the same engine without windows: a page opens in a quarter of the time.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NAMES += ("msedge", "microsoft-edge")
PLACES = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"%ProgramFiles%\Google\Chrome\Application\chrome.exe",
    r"%ProgramFiles(x86)%\Google\Chrome\Application\chrome.exe",
    r"%LocalAppData%\Google\Chrome\Application\chrome.exe",
    r"%LocalAppData%\Chromium\Application\chrome.exe",
    r"%ProgramFiles(x86)%\Microsoft\Edge\Application\msedge.exe",
    r"%ProgramFiles%\Microsoft\Edge\Application\msedge.exe",
)
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # /dev/shm is tiny in containers
    # Whatever slips past the routing below cannot leave the machine either.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What `--dist loadgroup` keeps in one worker: what shares a JupyterLab, slow imports, or pages once parsed."""
    for item in items:
        if any(map(item.get_closest_marker, ("browser", "lab"))) and item.path.parent.name not in ("book", "widgets"):
            raise pytest.UsageError(f"{item.nodeid}: `make site-check` runs only tests/book and tests/widgets")
        module = getattr(item, "module", None)
        if item.get_closest_marker("lab"):
            item.add_marker(pytest.mark.xdist_group("lab"))
        elif "built" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("built"))
        elif "compile" in item.name:
            item.add_marker(pytest.mark.xdist_group("torch._dynamo"))
        elif hasattr(module, "transformers"):
            item.add_marker(pytest.mark.xdist_group("transformers"))


def torch_settings() -> tuple[Any, ...]:
    """What a process sets in torch for all that it computes: threads, products, the default dtype."""
    if (torch := sys.modules.get("torch")) is None:
        return ()
    return (
        f"{torch.get_num_threads()} threads",
        torch.get_float32_matmul_precision(),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
    )


@pytest.fixture(autouse=True, scope="module")
def settings_kept() -> Iterator[None]:
    """A module that left torch otherwise than it found it would change the last bits of other modules' numbers."""
    before = torch_settings()
    yield
    assert not before or torch_settings() == before


def find_chromium() -> str | None:
    """The browser to drive: COMPANION_CHROMIUM if it is set, else the first one found."""
    chosen = os.environ.get("COMPANION_CHROMIUM")
    if chosen:
        if not Path(chosen).is_file():
            pytest.fail(f"COMPANION_CHROMIUM={chosen!r} is no file; set it to a browser's program or unset it", False)
        return chosen
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or next((p for p in map(os.path.expandvars, PLACES) if Path(p).is_file()), None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A running browser; skips where there is none, or fails if COMPANION_REQUIRE_BROWSER=1."""
    program = find_chromium()
    if program is None:
        message = "no Chromium, Chrome or Edge found; install one or set COMPANION_CHROMIUM to its program"
        if os.environ.get("COMPANION_REQUIRE_BROWSER") == "1":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    # Chromium refuses to run its sandbox as root, which is who runs in most containers.
    root = sys.platform != "win32" and os.geteuid() == 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*FLAGS, *["--no-sandbox"] * root])
        yield browser
        browser.close()


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files and logs nothing; the types do not depend on the machine's registry."""

    extensions_map = {  # noqa: RUF012  (the base class declares it so)
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".css": "text/css",
        ".svg": "image/svg+xml",
        ".woff": "font/woff",
        ".woff2": "font/woff2",
        ".ipynb": "application/json",
    }

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up in mid-answer is no error; everything else is reported."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], str]]:
    """A function that serves a folder over http on 127.0.0.1 and gives the address, without a slash at the end."""
    servers: list[_Server] = []

    def start(folder: Path) -> str:
        server = _Server(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def scratch(serve: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of all temporary folders, and its address: one server for them all, since each takes its time."""
    folder = tmp_path_factory.getbasetemp()
    return folder, serve(folder)


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built book."""
    folder = ROOT / "_build" / "html"
    if not (folder / "index.html").is_file():
        pytest.fail(f"the book is not built: no index.html in {folder}; run make book", pytrace=False)
    return folder


@pytest.fixture(scope="session")
def site_url(site: Path, serve: Callable[[Path], str]) -> str:
    """The built book over http, without a slash at the end."""
    return serve(site)


def watch(page: Page, allowed: tuple[str, ...]) -> list[str]:
    """Collect what goes wrong on a page, and stop every request to anywhere but the allowed addresses.

    The pattern is matched in the browser's driver, so the many good requests cost no round trip to Python.
    """
    problems: list[str] = []
    local = "|".join(map(re.escape, (*allowed, "data:", "blob:", "about:")))
    outside = re.compile(f"^(?!{local})", re.IGNORECASE)

    def answered(response: Any) -> None:
        if response.status >= 400:
            problems.append(f"HTTP {response.status}: {response.url}")

    def failed(request: Any) -> None:
        if not outside.match(request.url):
            problems.append(f"failed request: {request.url} ({request.failure})")

    def said(message: Any) -> None:
        # A failed or refused request also logs a line; it is already in the list, with more in it.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            problems.append(f"console error: {message.text} ({message.location.get('url', '')})")

    def socket(ws: Any) -> None:
        if outside.match(re.sub("^ws", "http", ws.url)):
            problems.append(f"outside request: {ws.url}")

    def refuse(route: Any) -> None:
        problems.append(f"outside request: {route.request.url}")
        route.abort()

    page.route(outside, refuse)
    page.on("console", said)
    page.on("pageerror", lambda error: problems.append(f"page error: {error}"))
    page.on("response", answered)
    page.on("requestfailed", failed)
    page.on("websocket", socket)
    return problems


@contextmanager
def opening(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """The function that `open_page` gives; its pages are closed at the end."""
    contexts: list[BrowserContext] = []

    def start(
        path: str,
        *,
        scheme: str = "http",
        dark: bool = False,
        width: int = 1280,
        height: int = 900,
        reduced_motion: bool = False,
        root: Path | None = None,
        without: str | None = None,
    ) -> Page:
        folder = root or request.getfixturevalue("site")
        if scheme == "file":
            base = folder.as_uri()
        elif root:
            top, address = request.getfixturevalue("scratch")
            base = f"{address}/{root.relative_to(top).as_posix()}"
        else:
            base = request.getfixturevalue("site_url")
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if reduced_motion else "no-preference",
            service_workers="block",
        )
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.problems = watch(page, (base + "/",))  # type: ignore[attr-defined]
        if without:
            page.route(without, lambda route: route.fulfill(body="", content_type="text/javascript"))
        page.goto(f"{base}/{path.lstrip('/')}", wait_until="load")
        return page

    yield start
    for context in contexts:
        context.close()


@pytest.fixture
def open_page(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """A function that loads a page of the built book and lists in `page.problems` what went wrong on it.

    Say open_page("book/intro.html", scheme="file", dark=True); `root` takes another folder than the built book, a
    temporary one, and `without` leaves the scripts that this pattern matches empty.
    """
    with opening(chromium, request) as start:
        yield start


@pytest.fixture(scope="module")
def open_for_module(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """The same, but its pages stay open for all tests of a module."""
    with opening(chromium, request) as start:
        yield start

"""A real JupyterLab for the tests: started on a copy of some notebooks, driven in the browser, always shut down."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# No news, no windowing (a cell out of sight would not be in the page), no autosave in mid-test.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "notebook-extension/tracker": {"windowingMode": "none"},
    "docmanager-extension/plugin": {"autosave": False},
}
START_SECONDS = 60
RUN_SECONDS = 240  # a chapter may take 90 s on two free cores


class Lab:
    """The address and the token of a running server."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token

    def ask(self, path: str, *, method: str = "GET", timeout: float = 10) -> bytes:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.read()

    def open(self, page: Any, notebook: str) -> None:
        """Open a notebook and wait until its kernel answers."""
        page.goto(f"{self.url}lab/tree/{notebook}?reset&token={self.token}", wait_until="load")
        page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell", timeout=START_SECONDS * 1000)
        page.evaluate(
            """async () => {
                const panel = jupyterapp.shell.currentWidget;
                await panel.context.ready; await panel.sessionContext.ready;
                const kernel = panel.sessionContext.session.kernel;
                await kernel.info;
            }"""
        )

    def run_all(self, page: Any) -> None:
        """Run all cells, as the menu does, and wait until the kernel is through with them."""
        page.evaluate(
            """() => {
                window.ran = false;
                jupyterapp.commands.execute('notebook:run-all-cells').finally(() => window.ran = true);
            }"""
        )
        page.wait_for_function("window.ran", timeout=RUN_SECONDS * 1000)

    def failures(self, page: Any) -> list[str]:
        """The errors in the outputs of the open notebook, and the code cells that did not run."""
        return page.evaluate(
            """() => {
                const cells = jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells;
                const code = cells.filter(c => c.cell_type === 'code' && c.source.length);
                const raised = code.flatMap(c => c.outputs.filter(o => o.output_type === 'error')
                    .map(o => `${c.id}: ${o.ename}: ${o.evalue}`));
                return raised.concat(code.filter(c => !c.execution_count).map(c => `${c.id}: did not run`));
            }"""
        )

    def run_new_cell(self, page: Any, code: str) -> str:
        """Type code into a new cell at the end, run it with Shift+Enter, and give what it printed."""
        page.evaluate(
            """async () => {
                const notebook = jupyterapp.shell.currentWidget.content;
                notebook.activeCellIndex = notebook.widgets.length - 1;
                await jupyterapp.commands.execute('notebook:insert-cell-below');
                await jupyterapp.commands.execute('notebook:enter-edit-mode');
            }"""
        )
        cell = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook-cell").last
        cell.locator(".cm-content").click()
        page.keyboard.insert_text(code)
        index = page.evaluate("jupyterapp.shell.currentWidget.content.activeCellIndex")
        page.keyboard.press("Shift+Enter")
        state = """index => {
            const cell = jupyterapp.shell.currentWidget.content.model.sharedModel.getCell(index).toJSON();
            return cell.execution_count ? JSON.stringify(cell.outputs) : null;
        }"""
        found = page.wait_for_function(state, arg=index).json_value()
        return "".join("".join(o.get("text", [o.get("evalue", "")])) for o in json.loads(found))


def environment(home: Path) -> dict[str, str]:
    """Jupyter and IPython with folders of their own, so that nobody's settings matter or change."""
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    folders += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    own = {name: str(home / name.lower()) for name in folders}
    for name, values in SETTINGS.items():
        file = home / "jupyterlab_settings_dir" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), encoding="utf-8")
    return {**os.environ, **own}


def wait_for_address(server: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    """The address that the server wrote down once it listens."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            with suppress(ValueError):  # written only in part so far
                return json.loads(file.read_text(encoding="utf-8"))["url"]
        time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not start (exit status {server.poll()}):\n{log.read_text('utf-8')[-3000:]}")


@contextmanager
def jupyterlab(folder: Path, home: Path) -> Iterator[Lab]:
    """A server on the notebooks of a folder; its own files go to home."""
    home.mkdir(parents=True, exist_ok=True)
    token, log, env = secrets.token_hex(16), home / "log.txt", environment(home)
    options = (
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",
        "--expose-app-in-browser",
    )
    options += (f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={token}")
    with log.open("wb") as out:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            lab = Lab(wait_for_address(server, home / "jupyter_runtime_dir", log), token)
            yield lab
        finally:
            # Asked politely the server also stops its kernels; a killed one leaves that to them.
            with suppress(Exception):
                lab.ask("api/shutdown", method="POST")
                server.wait(20)
            if server.poll() is None:
                server.kill()
            server.wait(20)

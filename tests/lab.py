"""A Jupyter server of its own and a real browser, for tests of what a person sees.

A module of browser tests takes the fixtures by ``server, chromium, page = lab.server, lab.chromium, lab.page``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

HERE = Path(__file__).parent
REQUIRED = "MIPRO_NB_BROWSER"  # set to "required" where a browser must be there: then its lack is a failure
SHOTS = os.environ.get("MIPRO_NB_SHOTS")  # a folder for pictures, for those who want to look
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
FLAGS = [
    *["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"],
    *["--disable-component-update", "--disable-extensions", "--force-color-profile=srgb"],
    NO_NETWORK,
]
PATIENCE = float(os.environ.get("MIPRO_NB_PATIENCE", "120"))  # seconds, for what takes seconds
IGNORED = ["favicon.ico"]
HOME = re.compile(r"(data|blob|about):|(http|ws)://(127\.0\.0\.1|localhost)[:/]")
VIEW = ".mipro"
OWN = ("require_js_url", "jquery_url", "mathjax_url", "mermaid_js_url", "widget_renderer_url")  # of nbconvert


def chromium_path() -> str | None:
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


def lacking() -> str | None:
    """Say what is missing for browser tests, or None."""
    if chromium_path() is None:
        return "no Chromium on this machine"
    for module in ("playwright", "jupyterlab"):
        try:
            __import__(module)
        except ImportError:
            return f"{module} is not installed"
    return None


def browser_or_skip() -> None:
    """Skip where there is no browser; fail where one is required."""
    missing = lacking()
    if missing and os.environ.get(REQUIRED) == "required":
        pytest.fail(f"{REQUIRED}=required, but {missing}")
    if missing:
        pytest.skip(f"{missing}: browser tests are skipped")


def until(found: Callable[[], Any], what: str, rest: Callable[[float], Any] = lambda ms: time.sleep(ms / 1000)) -> Any:
    """Ask again and again until something is found; fail when patience is out."""
    deadline = time.monotonic() + PATIENCE
    while not (value := found()):
        assert time.monotonic() < deadline, f"never came: {what}"
        rest(100)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A Jupyter server in a directory of its own (JupyterLab, Notebook 7 and Voila); its kernels know tests/."""

    def __init__(self, root: Path) -> None:
        self.root, self.log, self.port = root / "work", root / "server.log", free_port()
        self.root.mkdir(parents=True)
        self.data = root / "data"
        own = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTERLAB_WORKSPACES_DIR")
        settings = root / "settings"
        path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
        self.environment = {**os.environ, **{name: str(root / name.lower()) for name in own}, "PYTHONPATH": path}
        self.environment |= {"JUPYTERLAB_SETTINGS_DIR": str(settings), "JUPYTER_DATA_DIR": str(self.data)}
        self.environment |= {
            "MIPRO_NB_CACHE": str(root / "cache"),
            "MIPRO_NB_DATA": str(root / "kept"),
            "PYTHONWARNINGS": "",
        }
        quiet = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
        quiet.parent.mkdir(parents=True)
        quiet.write_text('{"fetchNews": "false"}')
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        options = [
            "--no-browser",
            "--allow-root",
            f"--port={self.port}",
            "--ServerApp.port_retries=0",
            "--ServerApp.disable_check_xsrf=True",
            "--IdentityProvider.token=",
            "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True",
            "--LabApp.news_url=None",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            f"--ServerApp.root_dir={self.root}",
        ]
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "jupyterlab", *options]
            self._process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, cwd=self.root
            )
        until(self._answers, "the server's first answer")
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        with contextlib.suppress(OSError):
            self.api("")
            return True
        return False

    def __exit__(self, *raised: object) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def api(self, path: str, method: str = "GET") -> Any:
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/api/{path}", method=method), timeout=30) as got:
            text = got.read()
        return json.loads(text) if text else None

    def end_kernels(self) -> None:
        for session in self.api("sessions"):
            self.api(f"sessions/{session['id']}", "DELETE")

    def kernel(self, name: str, path: Path) -> None:
        """Install a kernel spec whose kernel finds packages in a folder first."""
        spec = self.data / "kernels" / name
        spec.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        own = {"PYTHONPATH": os.pathsep.join([str(path), self.environment["PYTHONPATH"]])}
        kernel = {"argv": argv, "display_name": name, "language": "python", "env": own}
        (spec / "kernel.json").write_text(json.dumps(kernel))


class Page:
    """A page of the browser, and a folder of its own for notebooks. What it asked for and complained of is kept."""

    def __init__(self, server: Server, context: Any, folder: str) -> None:
        self.server, self.folder, self.context = server, server.root / folder, context
        self.folder.mkdir()
        self.outside: list[str] = []
        self.console: list[str] = []
        self.noise = list(IGNORED)  # what a front end says and asks of its own accord, without us
        self.page: Any = None
        self.turn()

    def turn(self) -> Any:
        """Go on in a new tab."""
        if self.page is not None:
            self.page.close()
        self.page = self.context.new_page()
        self.page.on("request", self._asked)
        self.page.on("console", lambda said: self.console.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.set_default_timeout(PATIENCE * 1000)
        return self.page

    def _asked(self, request: Any) -> None:
        if not HOME.match(request.url):
            self.outside.append(request.url)

    def listen_to_noise(self) -> None:
        """Take what was asked and said until now for the front end's own."""
        self.noise += [*self.outside, *(line[:60] for line in self.console)]

    def check(self) -> None:
        """Nothing was asked of other machines, and the console has no error."""
        asked, complaints = (
            [line for line in told if not any(noise in line for noise in self.noise)]
            for told in (self.outside, self.console)
        )
        assert not asked, f"asked of other machines: {asked}"
        assert not complaints, f"errors of the console: {complaints}"

    def write(self, *cells: str, name: str = "nb", kernel: str = "python3") -> Path:
        """Write a notebook of code cells."""
        made = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}},
        )
        return self.put(made, name)

    def put(self, notebook: Any, name: str) -> Path:
        nbformat.write(notebook, self.folder / f"{name}.ipynb")
        return self.folder / f"{name}.ipynb"

    def read(self, name: str = "nb") -> Any:
        return nbformat.read(self.folder / f"{name}.ipynb", as_version=4)

    def open(self, name: str = "nb", wait: bool = True) -> None:
        """Open a notebook in JupyterLab, and wait for its kernel."""
        self.page.goto(f"{self.server.url}/lab/tree/{self.folder.name}/{name}.ipynb?reset")
        self.ready(wait)

    def ready(self, wait: bool = True) -> None:
        """Wait for JupyterLab with a notebook, and for its kernel."""
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.context")
        if wait:
            self.idle()

    def idle(self) -> None:
        self.page.wait_for_function(
            "() => window.jupyterapp.shell.currentWidget.context.sessionContext.session?.kernel?.status === 'idle'"
        )

    def start(self, *cells: str, **options: str) -> None:
        """Write a notebook, open it and run all its cells."""
        self.write(*cells, **options)
        self.open()
        self.run_all()

    def command(self, name: str, **arguments: Any) -> None:
        """Execute a command of JupyterLab; don't wait for its end."""
        self.page.evaluate("([name, given]) => { window.jupyterapp.commands.execute(name, given); }", [name, arguments])

    def run_all(self) -> None:
        self.command("notebook:run-all-cells")

    def run_cell(self, number: int) -> None:
        """Run one cell, the first is 0; don't wait for its end."""
        self.page.evaluate(
            """n => {  // both at once: in between the focus could make another cell the active one
                window.jupyterapp.shell.currentWidget.content.activeCellIndex = n;
                window.jupyterapp.commands.execute("notebook:run-cell");
            }""",
            number,
        )

    def source(self, cell: int, code: str) -> None:
        """Put code into a cell."""
        change = (
            "([n, code]) => window.jupyterapp.shell.currentWidget.content.widgets[n].model.sharedModel.setSource(code)"
        )
        self.page.evaluate(change, [cell, code])

    def ask(self, cell: int, code: str) -> str:
        """Put code into a cell, run it to its end, and return what it printed."""
        self.source(cell, code)
        self.page.evaluate(
            """async ([n, patience]) => {
                window.jupyterapp.shell.currentWidget.content.activeCellIndex = n;
                const never = new Promise((_, fail) => setTimeout(() => fail(new Error("it never ended")), patience));
                await Promise.race([window.jupyterapp.commands.execute("notebook:run-cell"), never]);
            }""",
            [cell, PATIENCE * 1000],
        )
        return str(self.output(cell).text_content())

    def restart_and_run_all(self) -> None:
        """As the menu does, with its question answered."""
        self.command("notebook:restart-run-all")
        self.page.locator(".jp-Dialog").get_by_role("button", name="Confirm Kernel Restart").click()

    def save(self) -> None:
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def open_door(self) -> None:
        """Let the LM of ``scene.held`` go on."""
        (self.folder / "door").touch()

    def open_gate(self) -> None:
        """Let the LM of ``scene.held_again`` go on."""
        (self.folder / "gate").touch()

    def output(self, cell: int) -> Any:
        """Locate a cell's output area."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".jp-Cell-outputArea")

    def view(self, cell: int) -> Any:
        """Locate the live view in a cell's output."""
        return self.output(cell).locator(VIEW)

    def expect(self, locator: Any) -> Any:
        """Expect something of a locator, with patience."""
        from playwright.sync_api import expect

        expect.set_options(timeout=PATIENCE * 1000)
        return expect(locator)

    def shows(self, locator: Any, *texts: str | re.Pattern[str]) -> None:
        """Wait until each of the texts is there. (What is out of the window has no ``inner_text`` in JupyterLab.)"""
        for text in texts:
            self.expect(locator).to_contain_text(text)

    def state(self, view: Any, word: str) -> None:
        """Wait until a live view says that the run is in this state."""
        self.expect(view.locator(".mipro-badge")).to_have_text(word)

    def press(self, view: Any, name: str) -> None:
        view.get_by_role("button", name=name, exact=True).click()

    def number(self, view: Any, label: str) -> int:
        """Read a number of what was spent: ``LM calls``, ``Tokens``."""
        entry = view.locator(".mipro-usage > div").filter(has_text=label)
        return int(re.sub(r"\D", "", entry.locator("dd").first.text_content()) or 0)

    def until(self, found: Callable[[], Any], what: str) -> Any:
        return until(found, what, self.page.wait_for_timeout)

    def still(self, value: Callable[[], Any], what: str) -> Any:
        """Wait until a value is the same for a while; return it."""

        def same() -> bool:
            before = value()
            self.page.wait_for_timeout(1500)
            return bool(value() == before)

        self.until(same, f"{what} standing still")
        return value()

    def theme(self, name: str) -> None:
        self.page.evaluate("t => window.jupyterapp.commands.execute('apputils:change-theme', {theme: t})", name)


def to_html(path: Path) -> Path:
    """Convert a notebook by nbconvert, without the libraries of others that it makes any notebook ask for."""
    without = [f"--HTMLExporter.{name}=" for name in OWN]
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--log-level=ERROR", *without, str(path)]
    subprocess.run(command, check=True, timeout=300)
    return path.with_suffix(".html")


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """Give a Chromium without a network."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        try:
            yield chromium
        finally:
            chromium.close()


# Playwright's loop runs in the main thread as long as it is open: it is closed after each module, so that the
# modules that come after can have loops of their own.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    browser_or_skip()
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    browser_or_skip()
    with Server(tmp_path_factory.mktemp("jupyter")) as started:
        yield started


@pytest.fixture
def page(server: Server, chromium: Any, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of 1280 by 1400 pixels; after the test nothing may have left this machine, nor the console complain."""
    with chromium.new_context(viewport={"width": 1280, "height": 1400}) as context:
        opened = Page(server, context, re.sub(r"\W+", "_", request.node.name))
        yield opened
        if SHOTS:
            opened.page.screenshot(path=Path(SHOTS) / f"{opened.folder.name}.png")
        opened.check()
    server.end_kernels()

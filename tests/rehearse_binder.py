"""What Binder does with this repository, rehearsed without Docker: built from binder/, opened, run in a browser.

    python tests/rehearse_binder.py

repo2docker's steps, in its order, in a fresh home and a fresh environment; then JupyterLab on one CPU with no network,
and a Chromium that opens the quickstart as the README's link does and runs all its cells. It fails unless the notebook
ends without an error and with a verdict, in less than MEMORY, asking nothing of other machines; times are only told.
MIPRO_NB_SHOTS names a folder for pictures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lab

REPO = Path(__file__).parent.parent
# jupyterhub/repo2docker, repo2docker/buildpacks/conda/environment.py-3.12-linux-64.lock, November 2026: what is in the
# environment before binder/requirements.txt is read
BASE = ("ipykernel==7.0.1", "jupyterlab==4.4.9", "ipywidgets==8.1.7")
NOTEBOOK = "notebooks/quickstart.ipynb"
MEMORY = 1500  # MB, of the 2,000 that Binder gives
LONGEST = 10 * lab.PATIENCE  # seconds for all cells of the notebook
UNREACHABLE = "http://127.0.0.1:9"  # a proxy that nobody runs
PASSED_ON = re.compile(r"PATH|LANG|LC_\w+|TZ|PIP_\w+|SSL_\w+|REQUESTS_CA_BUNDLE|\w+_proxy", re.IGNORECASE)


class Failed(Exception):
    """The rehearsal shows something that would not do on Binder."""


@dataclass(frozen=True)
class Image:
    """The folder that stands for the image: a home, which is also the repository, and an environment."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def venv(self) -> Path:
        return self.root / "venv"

    @property
    def figures(self) -> Path:
        return self.root / "figures.json"

    def environment(self) -> dict[str, str]:
        """Return the variables of a user in the image: nothing of this machine's but what pip needs to fetch."""
        passed = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
        for configured in (Path.home() / ".pip/pip.conf", Path.home() / ".config/pip/pip.conf"):
            if configured.is_file():
                passed.setdefault("PIP_CONFIG_FILE", str(configured))
        path = [self.home / ".local/bin", self.venv / "bin", passed["PATH"]]
        own: dict[str, Any] = {
            "HOME": self.home,
            "REPO_DIR": self.home,
            "VIRTUAL_ENV": self.venv,
            "NB_PYTHON_PREFIX": self.venv,
        }
        own |= {"TMPDIR": self.root / "tmp", "PATH": os.pathsep.join(map(str, path)), "SHELL": "/bin/bash"}
        return passed | {name: str(value) for name, value in own.items()}

    def run(self, *command: str) -> None:
        """Run a step of the build in the repository's root; show what it says if it fails."""
        done = subprocess.run(
            command, cwd=self.home, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}")


# The build


def tree() -> list[str]:
    """Return the repository's files as a commit of everything would have them now."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPO, check=True, capture_output=True, text=True).stdout
    return sorted(name for name in listed.split("\0") if name and (REPO / name).is_file())


def copy(names: list[str], home: Path) -> None:
    for name in names:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPO / name, home / name)


def python_of(runtime: str) -> str | None:
    """Return the interpreter that runtime.txt asks for (``python-3.12``), if this machine has it."""
    version = runtime.strip().removeprefix("python-")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"{version}*/bin/python"), reverse=True))]
    asks = "import sys; print('{}.{}'.format(*sys.version_info))"
    for python in filter(None, found):
        told = subprocess.run([python, "-c", asks], capture_output=True, text=True)  # a shim may lead nowhere
        if told.stdout.strip() == version:
            return python
    return None


def build(image: Image, say: Callable[[str], None] = print) -> dict[str, float]:
    """Build as repo2docker does; return seconds and megabytes."""
    for folder in (image.home, image.root / "tmp"):
        folder.mkdir(parents=True)
    figures: dict[str, float] = {}
    names = tree()
    # the requirements come before the repository, so that a change of the code leaves their layer as it is
    copy([name for name in names if name in ("binder/requirements.txt", "binder/runtime.txt")], image.home)
    runtime = (image.home / "binder/runtime.txt").read_text()
    python = python_of(runtime)
    say(f"{runtime.strip()}: {python or f'not on this machine; {sys.version.split()[0]} takes its place'}")
    subprocess.run([python or sys.executable, "-m", "venv", image.venv], check=True)
    pip = ("pip", "install", "--no-cache-dir", "--quiet")
    with timed(figures, "repo2docker's own environment"):
        image.run(*pip, *BASE)
    figures["repo2docker's own environment, MB"] = megabytes(image.venv)
    with timed(figures, "requirements"):
        image.run(*pip, "-r", "binder/requirements.txt")
    copy(names, image.home)
    with timed(figures, "postBuild"):
        image.run("chmod", "+x", "binder/postBuild")
        image.run("./binder/postBuild")
    shutil.rmtree(image.root / "tmp")
    (image.root / "tmp").mkdir()
    figures["image (environment and home), MB"] = megabytes(image.root)
    return figures


@contextlib.contextmanager
def timed(figures: dict[str, float], name: str) -> Iterator[None]:
    before = time.monotonic()
    yield
    figures[f"{name}, s"] = time.monotonic() - before


def megabytes(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


# The server, and what it takes


class Binder(lab.Server):
    """A Jupyter server as Binder starts it: through ``start``, from the repository's root, on one CPU."""

    def __init__(self, image: Image, cut_off: bool) -> None:
        self.image, self.root, self.port = image, image.root / "pages", lab.free_port()
        self.log = image.root / "server.log"
        self.root.mkdir()
        self.environment = image.environment()
        if not cut_off:  # of the kernel's network at least what listens to proxies
            refused = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), UNREACHABLE)
            refused |= {"no_proxy": "127.0.0.1,localhost"}
            self.environment |= refused | {name.upper(): value for name, value in refused.items()}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Binder:
        start = self.image.home / "binder/start"
        through = [str(start)] if start.exists() else []
        options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={self.port}", "--IdentityProvider.token="]
        options += ["--ServerApp.port_retries=0", "--LabApp.expose_app_in_browser=True"]
        command = [*through, "jupyter-lab", *options]
        with self.log.open("wb") as log, on_cpus({min(cpus())}):
            self._process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, cwd=self.image.home
            )
        lab.until(self._answers, "the server's first answer")
        return self

    @property
    def process(self) -> int:
        assert self._process is not None
        return self._process.pid


def cpus() -> set[int]:
    return os.sched_getaffinity(0)


@contextlib.contextmanager
def on_cpus(few: set[int]) -> Iterator[None]:
    """Whatever is started in here has these CPUs."""
    before = cpus()
    os.sched_setaffinity(0, few)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Watch(threading.Thread):
    """Watches a process and all that come from it: memory, in which shared pages count once (PSS), and CPU seconds."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak, self.seen = process, 0.0, {process}
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.5):
            family = descendants(self.process)
            self.seen |= family
            self.peak = max(self.peak, sum(map(proportional, family)))

    def cpu(self) -> float:
        """Return the CPU seconds of those that run now: what the waiting would be on a machine without other work."""
        ticks = 0
        for process in descendants(self.process):
            with contextlib.suppress(OSError):
                ticks += sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def left(self) -> set[int]:
        """Return those of the processes ever seen that still run."""
        return {process for process in self.seen if Path(f"/proc/{process}/cmdline").exists()}


def descendants(process: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, open_ = set(), [process]
    while open_:
        found.add(one := open_.pop())
        open_ += children.get(one, [])
    return found


def proportional(process: int) -> float:
    """Return a process's proportional set size in megabytes."""
    with contextlib.suppress(OSError, AttributeError):
        said = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
        return int(said[1]) * 1024 / 1e6  # type: ignore[index]
    return 0.0


# The visit

# What a person sees of the notebook now. The live view, when it ends, gives its place to the frozen page.
LOOK = """() => {
    const cells = window.jupyterapp.shell.currentWidget.content.widgets.filter(one => one.model.type === "code");
    const outputs = one => Array.from({length: one.model.outputs.length}, (_, n) => one.model.outputs.get(n));
    const view = document.querySelector(".mipro");
    window.viewed ??= view?.closest(".jp-Cell");
    if (view && !view.querySelector(".mipro-verdict:not([hidden])")) view.scrollIntoView({block: "start"});
    const chart = view?.querySelector('[role=img][aria-label^="Score of each trial: "]');
    const scores = chart?.getAttribute("aria-label") ?? "";
    const stage = view?.querySelector(".mipro-step[data-phase=now]");
    const count = stage?.querySelector(".mipro-step-count").textContent;
    const failed = cells.flatMap(outputs).filter(one => one.type === "error").map(one => one.toJSON());
    return {
        view: view ? view.getBoundingClientRect().height : 0,
        stage: stage?.querySelector(".mipro-step-title").textContent ?? "",
        scored: /best \\d/.test(scores) ? Math.max(1, parseInt(count) || 0) : 0,
        verdict: /\\d+ test examples/.test(window.viewed?.textContent ?? ""),
        frozen: Boolean(window.viewed && !window.viewed.querySelector(".mipro")),
        errors: failed.map(one => `${one.ename}: ${one.evalue}`),
        left: cells.filter(one => one.model.sharedModel.source.trim() && one.model.executionCount === null).length,
        dialogs: document.querySelectorAll(".jp-Dialog, .jp-toastContainer .Toastify__toast").length,
    };
}"""


@dataclass
class Visit:
    """One visitor: opens the notebook, runs all cells, and notes when what came on the screen."""

    page: lab.Page
    watch: Watch
    began: float = 0.0
    idle: float = 0.0  # CPU seconds before the page was opened
    reached: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    def reach(self, what: str, shot: bool = False) -> None:
        if what in self.reached:
            return
        self.reached[what], self.cpu[what] = time.monotonic() - self.began, self.watch.cpu() - self.idle
        if shot and lab.SHOTS:
            self.page.page.wait_for_timeout(700)  # for the browser to draw it
            self.page.page.screenshot(path=Path(lab.SHOTS) / f"binder {what}.png")

    def open(self) -> None:
        self.began, self.idle = time.monotonic(), self.watch.cpu()
        self.page.page.goto(f"{self.page.server.url}/lab/tree/{NOTEBOOK}")
        self.page.ready(wait=False)
        self.reach("notebook")
        self.page.idle()
        self.reach("kernel", shot=True)

    def run(self) -> None:
        """Run all cells, and look twice a second until they are through."""
        self.page.run_all()
        while True:
            seen = self.page.page.evaluate(LOOK)
            self.note(seen)
            if seen["errors"]:
                raise Failed(f"cells ended with an error: {seen['errors']}")
            if seen["frozen"] and not seen["left"]:
                break
            if time.monotonic() - self.began > LONGEST:
                raise Failed(f"the notebook didn't end in {LONGEST:.0f} s; last seen: {seen}")
            self.page.page.wait_for_timeout(500)
        self.page.idle()
        self.reach("end")
        if not seen["verdict"]:
            raise Failed("the notebook ended and shows no verdict")
        self.page.page.evaluate("() => window.viewed.scrollIntoView()")
        self.reach("what stays", shot=True)

    def note(self, seen: dict[str, Any]) -> None:
        if seen["dialogs"]:
            raise Failed("JupyterLab asks or tells something that is in the way of the notebook")
        if seen["view"]:
            self.reach("view", shot=True)
        if seen["stage"]:
            self.reach(f"stage: {seen['stage']}")
        if seen["scored"]:
            self.reach("first trial", shot=True)  # the baseline
        if seen["scored"] > 1:
            self.reach("second trial", shot=True)
        if seen["verdict"]:
            self.reach("verdict", shot=True)


def visit(image: Image, cut_off: bool) -> None:
    """Open the notebook in a browser, run it, write down the figures."""
    began = time.monotonic()
    with Binder(image, cut_off) as server:
        watch = Watch(server.process)
        watch.start()
        started = time.monotonic() - began
        try:
            with on_cpus(cpus() - {min(cpus())} or cpus()), lab.browser() as chromium:  # a visitor has a machine too
                page = lab.Page(server, chromium.new_context(viewport={"width": 1280, "height": 1000}), "visit")
                visitor = Visit(page, watch)
                try:
                    visitor.open()
                    visitor.run()
                finally:
                    note_state(page, image, visitor)
                page.check()
        finally:
            watch.over.set()
            watch.join()
    lab.until(lambda: not watch.left(), f"the end of all processes of the server, {watch.seen}")
    figures = {"server, s": started, "peak memory, MB": watch.peak}
    for what, seconds in visitor.reached.items():
        figures |= {f"from opening the page to {what}, s": seconds, f"    CPU until {what}, s": visitor.cpu[what]}
    image.figures.write_text(json.dumps(figures))
    if watch.peak >= MEMORY:
        raise Failed(f"server and kernel took {watch.peak:.0f} MB; the limit here is {MEMORY}")


def note_state(page: lab.Page, image: Image, visitor: Visit) -> None:
    """Keep for a failure's report what there is to see."""
    if "end" not in visitor.reached:
        print(f"reached: {visitor.reached}; console: {page.console}", file=sys.stderr)
        print(f"the server said:\n{(image.root / 'server.log').read_text()[-3000:]}", file=sys.stderr)
        if lab.SHOTS:
            page.page.screenshot(path=Path(lab.SHOTS) / "binder failed.png")


# All of it

ALONE = "ip link set lo up && exec {}"  # loopback is all there is in a new network namespace


def cutting_off() -> list[str]:
    """Return the command that runs another without a network, or nothing where the system doesn't allow it."""
    for way in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        with contextlib.suppress(OSError):
            if subprocess.run([*way, "sh", "-c", ALONE.format("true")], capture_output=True).returncode == 0:
                return [*way, "sh", "-c", ALONE.format('"$0" "$@"')]
    return []


def rehearse(root: Path, say: Callable[[str], None] = print) -> dict[str, float]:
    """Build and visit in a folder; return the figures.

    Raises:
        Failed: something that would not do on Binder.
    """
    image = Image(root)
    figures = build(image, say)
    without = cutting_off()
    say(f"network: {'none but loopback' if without else 'proxies that nobody runs; the rest is not cut off'}")
    way = ["--cut-off"] if without else []
    with ended(subprocess.Popen([*without, sys.executable, __file__, "--visit", str(root), *way])) as visiting:
        if visiting.wait():
            raise Failed("the visit failed; what it said is above")
    figures |= json.loads(image.figures.read_text())
    return figures


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def main() -> None:
    """Rehearse in a temporary folder and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--keep", type=Path, help="build in this new folder, and leave it")
    parser.add_argument("--visit", type=Path, help="only visit what was built and kept in this folder")
    parser.add_argument("--cut-off", action="store_true", help="the network is cut off already")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))  # so that what was started ends too
    try:
        if given.visit:
            visit(Image(given.visit), given.cut_off)
            return
        with contextlib.ExitStack() as stack:
            root = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="binder")))
            for name, figure in rehearse(root).items():
                print(f"{name}: {figure:.{0 if 'MB' in name else 1}f}")
    except (Failed, AssertionError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()

"""Stop works in every kernel that people have: ipykernel 6, Binder's 7.0.1, the one that is installed."""

import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import lab
import pytest

pytestmark = pytest.mark.slow
server, chromium, page = lab.server, lab.chromium, lab.page

BESIDE = ("nest_asyncio",)  # what older ones need and newer ones don't


def fetched(wanted):
    """Return a folder with this version of ipykernel, which pip has put there once."""
    folder = Path(os.environ["MIPRO_NB_CACHE"]) / f"ipykernel-{wanted}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as made:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", f"{made}/packages"]
            told = subprocess.run([*command, f"ipykernel=={wanted}", *BESIDE], capture_output=True, text=True)
            if told.returncode and os.environ.get(lab.REQUIRED) != "required":
                pytest.skip(f"pip can't fetch ipykernel {wanted}: {told.stderr.strip()[-200:]}")
            assert told.returncode == 0, told.stderr
            Path(made, "packages").rename(folder)
    return folder


@pytest.mark.parametrize("wanted", ["6.31.0", "7.0.1", "installed"])
def test_a_run_is_shown_and_stopped(page, wanted):
    name = "python3"
    if wanted != "installed":
        name = f"ipykernel-{wanted}"
        page.server.kernel(name, fetched(wanted))
    page.start(
        "import ipykernel\nprint('runs', ipykernel.__version__)\nfrom scene import *",
        "view = optimize(held(250), num_trials=100)\nview",
        "print(6 * 7)",
        kernel=name,
    )
    page.shows(page.output(0), f"runs {version('ipykernel') if wanted == 'installed' else wanted}")
    page.shows(page.output(2), "42")
    view = page.view(1)
    page.expect(view.locator(".mipro-found")).to_contain_text("over the baseline")
    page.press(view, "Stop and keep the best")
    page.open_door()
    page.shows(page.output(1), "MIPROv2 · Predict · stopped", "best on validation")
    assert "stopped" in page.ask(2, "print(view.status)")

"""Shared by all tests: no progress output, no configured LM left over, a cache of their own."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator

import pytest

# before anything of the package is used: answers and weights never touch the user's own cache
os.environ.setdefault("MIPRO_NB_CACHE", os.path.join(tempfile.gettempdir(), "mipro_nb_tests"))
if "MIPRO_NB_DATA" not in os.environ:  # nor runs the user's own
    os.environ["MIPRO_NB_DATA"] = tempfile.mkdtemp(prefix="mipro_nb_data_")
    atexit.register(shutil.rmtree, os.environ["MIPRO_NB_DATA"], ignore_errors=True)
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

# what a shell starts in the background ignores interrupts: the tests of them would wait for ever
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

collect_ignore = ["record_golden.py"]  # needs dspy


@pytest.fixture(autouse=True)
def _fresh_settings() -> Iterator[None]:
    from mipro_nb import settings

    before = settings.settings()
    settings.configure(progress=False, lm=None, num_threads=None)
    yield
    settings.configure(lm=before.lm, num_threads=before.num_threads, progress=before.progress)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Notebooks run on the embedded LM: slow."""
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker("slow")

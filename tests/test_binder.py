"""Binder: what repo2docker reads is in order, and (slow) a rehearsal of its build and of a visit."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import lab
import pytest
import rehearse_binder
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

REPO = Path(__file__).parent.parent
BINDER = REPO / "binder"
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="it needs Linux's /proc and CPU sets")
LINK = f"urlpath=lab/tree/{rehearse_binder.NOTEBOOK}"


def lines() -> list[str]:
    text = (BINDER / "requirements.txt").read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def pins() -> dict[str, Version]:
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines())}


def asked_for() -> list[Requirement]:
    """What the package needs at run time in a notebook, on the embedded LM, and what builds it."""
    extras = PROJECT["optional-dependencies"]
    build = tomllib.loads((REPO / "pyproject.toml").read_text())["build-system"]["requires"]
    return [Requirement(one) for one in [*PROJECT["dependencies"], *extras["local"], *extras["lab"], *build]]


def test_the_python_is_one_that_the_package_takes() -> None:
    found = re.fullmatch(r"python-(3\.\d+)\n", (BINDER / "runtime.txt").read_text())
    assert found
    assert Version(found[1]) in SpecifierSet(PROJECT["requires-python"])


def test_every_requirement_is_pinned_once() -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines())
    assert len(pins()) == len(lines())


@pytest.mark.parametrize("asked", asked_for(), ids=str)
def test_a_dependency_is_pinned_as_the_package_wants_it(asked: Requirement) -> None:
    assert pins()[canonicalize_name(asked.name)] in asked.specifier


@pytest.mark.parametrize("base", rehearse_binder.BASE)
def test_the_pins_replace_what_repo2docker_brings(base: str) -> None:
    name, version = base.split("==")
    assert pins()[canonicalize_name(name)] > Version(version)


def test_nothing_that_only_tests_need_is_in_the_image() -> None:
    extras = PROJECT["optional-dependencies"]
    needed = {canonicalize_name(asked.name) for asked in asked_for()}
    tools = {canonicalize_name(Requirement(one).name) for one in extras["test"]} - needed
    tools -= {"ipykernel", "nbclient", "nbconvert", "nbformat", "mipro-nb"}  # JupyterLab needs these
    assert not tools & set(pins())


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_a_script_runs_as_it_is(name: str) -> None:
    script = BINDER / name
    text = script.read_text()
    assert text.startswith("#!/bin/bash\n")
    assert re.search(r"^set -e", text, re.MULTILINE)
    assert script.stat().st_mode & 0o111 == 0o111
    subprocess.run(["bash", "-n", script], check=True)


def test_start_becomes_the_server_with_its_arguments() -> None:
    assert (BINDER / "start").read_text().rstrip().endswith('\nexec "$@"')
    told = subprocess.run([BINDER / "start", "echo", "two  words", "*"], check=True, capture_output=True, text=True)
    assert told.stdout == "two  words *\n"


def test_the_readme_leads_to_the_quickstart() -> None:
    assert (REPO / rehearse_binder.NOTEBOOK).is_file()
    links = re.findall(r"\]\((https://mybinder\.org/[^)\s]+)\)", (REPO / "README.md").read_text())
    assert any(link.split("?")[1:] == [LINK] for link in links)


@on_linux
def test_the_rehearsal_counts_what_a_process_has_started() -> None:
    watch = rehearse_binder.Watch(os.getpid())
    before, nap = rehearse_binder.descendants(os.getpid()), [sys.executable, "-c", "input()"]
    with subprocess.Popen(["bash", "-c", f"{shlex.join(nap)}; true"], stdin=subprocess.PIPE) as started:
        lab.until(lambda: len(rehearse_binder.descendants(os.getpid()) - before) == 2, "shell and Python")
        watch.seen = rehearse_binder.descendants(os.getpid()) - before
        assert started.pid in watch.left()
        assert 5 < rehearse_binder.proportional(os.getpid()) < 5000
        assert watch.cpu() > 0
        assert started.stdin is not None
        started.stdin.close()
    assert not watch.left()


@pytest.mark.slow
@on_linux
def test_a_visitor_on_binder_sees_the_quickstart_through() -> None:
    lab.browser_or_skip()
    done = subprocess.run([sys.executable, rehearse_binder.__file__], capture_output=True, text=True)
    print(done.stdout)  # the figures, for `pytest -s`
    assert done.returncode == 0, done.stdout + done.stderr

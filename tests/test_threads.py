"""Threads of one's own: as many as there is work for, and none that Python waits for."""

import subprocess
import sys
import threading
import time
from concurrent import futures

import pytest

from mipro_nb.threads import DaemonExecutor

PATIENCE = 60


def test_results_and_errors_come_back():
    executor = DaemonExecutor(2, "some")
    assert executor.submit(divmod, 7, 2).result(PATIENCE) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 7, 0).result(PATIENCE)
    executor.shutdown()


def test_work_goes_on_side_by_side_up_to_as_many_threads_as_are_allowed():
    executor, together = DaemonExecutor(4, "some"), threading.Barrier(4, timeout=PATIENCE)
    for _ in range(3):
        tasks = [executor.submit(together.wait) for _ in range(8)]
        assert not futures.wait(tasks, PATIENCE).not_done
        assert not [task for task in tasks if task.exception()]
    names = {thread.name for thread in threading.enumerate() if thread.name.startswith("some_")}
    assert names == {"some_0", "some_1", "some_2", "some_3"}
    executor.shutdown()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("some_")]


def test_one_after_the_other_takes_one_thread():
    executor = DaemonExecutor(8, "one")
    for number in range(20):
        executor.submit(str, number).result(PATIENCE)
        time.sleep(0.001)
    assert len([thread for thread in threading.enumerate() if thread.name.startswith("one_")]) <= 2
    executor.shutdown()


def test_after_the_end_it_takes_nothing_and_what_has_not_begun_is_left_out():
    executor, door = DaemonExecutor(1, "some"), threading.Event()
    begun, waiting = executor.submit(door.wait, PATIENCE), executor.submit(str)
    while not begun.running():
        time.sleep(0.001)
    executor.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(str)
    door.set()
    assert begun.result(PATIENCE) is True
    executor.shutdown()


def test_what_was_handed_in_before_the_end_is_still_done():
    executor = DaemonExecutor(2, "some")
    tasks = [executor.submit(str, number) for number in range(50)]
    assert tasks[7].cancel() or tasks[7].done()
    executor.shutdown()
    assert all(task.done() for task in tasks)


def test_python_does_not_wait_for_it():
    code = (
        "import time; from mipro_nb.threads import DaemonExecutor\n"
        "executor = DaemonExecutor(2, 'some'); executor.submit(time.sleep, 600); executor.shutdown(wait=False)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=PATIENCE, check=False).returncode == 0

"""An executor of one's own, as the threads of a pool see it."""

import threading
from concurrent import futures
from types import SimpleNamespace

import pytest

import mipro_nb as mn
from mipro_nb.elsewhere import Elsewhere, Lost, check_executor, size_of
from mipro_nb.errors import ConfigError, WorkersLost
from mipro_nb.flow import Stopped, cancelled


class Giving(futures.Executor):
    """Gives futures that the test ends."""

    def __init__(self):
        self.given = []

    def submit(self, work, *args):
        self.given.append(futures.Future())
        return self.given[-1]


def dask_like(nthreads, status="running"):
    executor = Giving()
    executor._client = SimpleNamespace(nthreads=lambda: nthreads, status=status)
    return executor


class KilledWorker(Exception):
    """By its name Dask's."""


def brought(error):
    executor = Giving()
    executor.submit = lambda work, task: failed(error)
    return Elsewhere(executor, threading.Event()).bring(str, 1)


def failed(error):
    future = futures.Future()
    future.set_exception(error)
    return future


def test_a_result_is_brought_and_the_executor_stays_open():
    with futures.ThreadPoolExecutor(1) as executor:
        assert Elsewhere(executor, threading.Event()).bring(str, 1) == "1"
        assert executor.submit(str, 2).result() == "2"


@pytest.mark.parametrize(
    "error",
    [KilledWorker("four of them"), futures.CancelledError(), futures.BrokenExecutor("died"), ConnectionError("gone")],
)
def test_a_worker_that_died_is_told_from_work_that_failed(error):
    with pytest.raises(Lost, match=type(error).__name__):
        brought(error)
    with pytest.raises(ZeroDivisionError):
        brought(ZeroDivisionError())


def test_an_executor_that_was_shut_down_takes_no_more():
    executor = futures.ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(WorkersLost, match=r"ThreadPoolExecutor takes no more work.*shutdown"):
        Elsewhere(executor, threading.Event()).bring(str, 1)


class ClosedClientError(Exception):
    """By its name Dask's."""


def test_a_client_that_was_closed_takes_no_more():
    executor = Giving()
    executor.submit = raising(ClosedClientError("Client is closed."))
    with pytest.raises(WorkersLost, match="takes no more work: ClosedClientError"):
        Elsewhere(executor, threading.Event()).bring(str, 1)
    executor.submit = raising(TypeError("cannot pickle"))
    with pytest.raises(TypeError, match="pickle"):
        Elsewhere(executor, threading.Event()).bring(str, 1)


def raising(error):
    def submit(work, task):
        raise error

    return submit


@pytest.mark.slow
def test_once_nobody_waits_what_is_under_way_is_given_up():
    executor, left = Giving(), threading.Event()
    left.set()
    with pytest.raises(Stopped):
        Elsewhere(executor, left).bring(str, 1)
    assert executor.given[0].cancelled()


@pytest.mark.slow
def test_a_cluster_that_is_gone_has_lost_what_it_had():
    with pytest.raises(Lost, match="the cluster is gone"):
        Elsewhere(dask_like({}, "closed"), threading.Event()).bring(str, 1)


@pytest.mark.slow
def test_work_that_was_ended_waits_for_no_cluster_without_workers():
    over = threading.Event()
    over.set()
    token = cancelled.set(over)
    try:
        with pytest.raises(Stopped):
            Elsewhere(dask_like({}), threading.Event()).bring(str, 1)
    finally:
        cancelled.reset(token)


@pytest.mark.parametrize(
    ("executor", "size"),
    [
        (futures.ThreadPoolExecutor(3), 3),
        (dask_like({"one": 4, "two": 2}), 6),
        (dask_like({}), 16),  # a cluster that hasn't grown yet
        (SimpleNamespace(_client=SimpleNamespace()), 16),
        (Giving(), 16),
    ],
)
def test_as_many_examples_go_on_at_once_as_the_executor_works_on(executor, size):
    assert size_of(executor) == size


@pytest.mark.parametrize("wrong", [3, "dask", SimpleNamespace(get_executor=None)])
def test_what_is_no_executor_is_refused_before_anything_is_spent(wrong):
    check_executor(None)
    with pytest.raises(ConfigError, match=r"^executor=.*Executor") as raised:
        check_executor(wrong)
    assert ("client.get_executor()" in str(raised.value)) == isinstance(wrong, SimpleNamespace)
    data = mn.examples([{"q": "1", "a": "1"}] * 2, inputs=["q"])
    with pytest.raises(ConfigError, match=r"^executor="):
        mn.MIPROv2(mn.exact_match).plan(mn.Predict("q -> a"), trainset=data, executor=wrong)
    with pytest.raises(ConfigError, match=r"^executor="):
        mn.Evaluate(data, mn.exact_match, executor=wrong)

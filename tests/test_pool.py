import contextvars
import threading

import pytest

from mipro_nb.errors import ConfigError
from mipro_nb.flow import Stopped, checkpoint
from mipro_nb.pool import Pool


def test_results_come_in_the_order_of_the_items():
    first = threading.Event()

    def work(item):
        if item == 0:
            assert first.wait(30)
        else:
            first.set()
        return item * 10

    arrived = []
    with Pool(2) as pool:
        assert pool.map(work, [0, 1], arrived.append) == [0, 10]
    assert sorted(arrived) == [0, 10]


def test_work_sees_the_callers_context():
    variable = contextvars.ContextVar("variable", default="outside")
    variable.set("inside")
    with Pool(2) as pool:
        assert pool.map(lambda _: variable.get(), range(3)) == ["inside"] * 3


def test_an_error_ends_the_work_and_what_waits_is_never_started():
    started = []

    def work(item):
        started.append(item)
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"), Pool(1) as pool:
        pool.map(work, range(50))
    assert len(started) < 50


def test_a_stop_keeps_what_arrived_and_starts_nothing_more():
    arrived, go_on = [], threading.Semaphore(2)

    def work(item):
        assert go_on.acquire(timeout=30)
        return item

    def stop():
        if len(arrived) < 2:
            return None
        go_on.release()  # lets the call in flight end
        return "enough"

    with pytest.raises(Stopped, match="enough"), Pool(1, stop) as pool:
        pool.map(work, range(50), arrived.append)
    assert sorted(arrived) in ([0, 1], [0, 1, 2])


def test_what_was_running_when_the_stop_came_is_kept():
    arrived, together = [], threading.Barrier(4)

    def work(item):
        together.wait(30)  # all four are running before the first one ends
        return item

    with pytest.raises(Stopped), Pool(4, lambda: "now" if arrived else None) as pool:
        pool.map(work, range(4), arrived.append)
    assert sorted(arrived) == [0, 1, 2, 3]


def test_a_stop_is_asked_even_when_there_is_no_work():
    with pytest.raises(Stopped), Pool(1, lambda: "now") as pool:
        pool.map(str, [])


def test_workers_tell_events_while_they_work():
    heard, release = [], threading.Event()

    def emit(event):
        heard.append(threading.current_thread())
        release.set()

    def work(_):
        pool.tell("halfway")
        assert release.wait(30)

    with Pool(1, emit=emit) as pool:
        pool.map(work, [0])
    assert heard == [threading.main_thread()]


def test_leaving_with_an_error_tells_the_calls_in_flight():
    from mipro_nb.flow import cancelled

    events = []

    def work(item):
        events.append(cancelled.get())
        if item:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Pool(1) as pool:
        pool.map(work, [0, 1])
    assert events[0].is_set()
    assert cancelled.get() is None


def test_no_items_are_no_work():
    with Pool(1) as pool:
        assert pool.map(str, []) == []


def test_no_threads_are_refused():
    with pytest.raises(ConfigError, match="num_threads=0"):
        Pool(0)


def test_each_gives_results_in_order_as_soon_as_it_can():
    first = threading.Event()
    taken = []

    def work(number):
        if number == 0:
            assert first.wait(30)
        elif number == 3:
            first.set()
        return number

    with Pool(4) as pool:
        pool.each(work, range(8), taken.append)
    assert taken == list(range(8))


@pytest.mark.slow
def test_workers_wait_while_there_is_no_go_ahead():
    go, done = threading.Event(), []
    threading.Timer(0.5, lambda: (done.append("go"), go.set())).start()
    with Pool(2, go=go) as pool:
        pool.map(lambda n: done.append(n), range(4))
    assert done[0] == "go"


@pytest.mark.slow
def test_a_stop_frees_workers_that_wait_for_the_go_ahead():
    asked = iter([None, None, "enough", "enough"])
    with pytest.raises(Stopped, match="enough"), Pool(2, lambda: next(asked, "enough"), go=threading.Event()) as pool:
        pool.map(lambda n: pytest.fail("it must not start"), range(4))


def test_a_checkpoint_outside_of_a_pool_does_nothing():
    assert checkpoint() is None


def test_work_may_begin_anew_after_the_end_of_a_stage():
    def refused(item):
        raise Stopped("enough of this")

    with Pool(2) as pool:
        with pytest.raises(Stopped, match="enough of this"):
            pool.map(refused, range(5))
        with pytest.raises(Stopped, match="the work was ended"):
            pool.map(lambda item: item, range(5))
        pool.again()
        assert pool.map(lambda item: item, range(5)) == [0, 1, 2, 3, 4]


def test_calls_in_flight_are_left_alone_when_the_pool_is_abandoned():
    begun, door, arrived = threading.Barrier(3, timeout=60), threading.Event(), []

    def work(item):
        begun.wait()
        return door.wait(60)

    def leave():
        begun.wait()
        pool.abandon()

    pool = Pool(2)
    threading.Thread(target=leave).start()
    with pytest.raises(Stopped, match="the work was ended"), pool:
        pool.map(work, range(4), arrived.append)
    assert (door.is_set(), arrived) == (False, [])
    door.set()

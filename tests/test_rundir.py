"""Runs are kept: cut off anywhere and resumed, they end as if undisturbed; what isn't the same run is refused."""

import itertools
import json
import os
import random
import shutil
import sys
import threading

import pytest
from cases import slow_but
from programs import TwoSteps, fake, metric, reply, rows, two_step_reply

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.cache import Cache
from mipro_nb.errors import ConfigError, LoadError
from mipro_nb.rundir import is_held, new_directory, runs_directory

PATIENCE = 120
DATA = {"trainset": rows(20), "valset": rows(60, 100), "testset": rows(30, 300)}


def compiled(
    where, stop_after=None, lm=None, program=None, measure=metric, data=DATA, settings=None, listeners=(), **options
):
    """Compile, or go on; return (best, history, LM)."""
    lm, history = lm or fake(), mn.History()

    def stop(told):
        return "enough" if stop_after is not None and told.usage.calls + told.usage.cached_calls > stop_after else None

    optimizer = mn.MIPROv2(measure, **{"seed": 2, **(settings or {})})
    with mn.context(lm=lm, progress=False):
        best = optimizer.compile(
            program or mn.Predict("q -> a"),
            listeners=[history, *listeners],
            stop=stop,
            run_dir=where,
            **data,
            **options,
        )
    return best, history, lm


def same(first, second):
    """Whether two runs came to the same: (program, history) each."""
    (best, history), (other, beside) = first, second
    return (
        [one.to_json() for one in best.predictors] == [one.to_json() for one in other.predictors]
        and history.trials_frame().equals(beside.trials_frame())
        and history.candidates_frame().equals(beside.candidates_frame())
        and history.verdict == beside.verdict
        and history.reason == beside.reason
    )


def stopped(where, after, evaluate, settings=None):
    """Begin, or go on, and stop after so many calls; return how many were made, and how many of them after the stop."""
    lm, pressed, late = fake(), [], []

    def look(event):
        if isinstance(event, ev.Noted) and event.stage == ev.SETTLING:
            late.append(lm.calls)
        used = run.history.usage
        if used.calls + used.cached_calls > after and not pressed:
            pressed.append(True)
            run.stop(evaluate=evaluate)

    with mn.context(lm=lm, progress=False):
        options = {**DATA, "run_dir": where, "listeners": [look], "requires_permission_to_run": True}
        run = mn.MIPROv2(metric, **{"seed": 2, **(settings or {})}).start(mn.Predict("q -> a"), **options)
    run.start()
    run.result(PATIENCE)
    return lm.calls, lm.calls - late[0] if late else 0


def settled(where):
    """How many evaluations a log tells that came after stops, of what was best then."""
    count, counts = 0, False
    for event in mn.History.read(where).events:
        if isinstance(event, ev.Noted) and event.stage == ev.SETTLING:
            counts = True
        elif isinstance(event, ev.RunFinished | ev.RunResumed):
            counts = False
        count += counts and isinstance(event, ev.ExampleScored)
    return count


@pytest.mark.parametrize(
    ("search", "seed", "evaluate"),
    slow_but(
        itertools.product(["paired", "mipro", "thompson"], [0, 1], [False, True]),
        lambda *case: case == ("paired", 0, True),
    ),
)
def test_a_run_that_is_stopped_again_and_again_ends_as_if_it_never_was(tmp_path, search, seed, evaluate):
    settings = {"search": search}
    best, history, lm = compiled(tmp_path / "calm", settings=settings)
    rng, paid, most = random.Random(seed), 0, lm.calls
    for _ in range(4):
        calls, after = stopped(tmp_path / "torn", rng.randint(0, lm.calls), evaluate, settings)
        paid, most = paid + calls, most + after
    again, resumed, last = compiled(tmp_path / "torn", settings=settings)
    assert same((again, resumed), (best, history))
    assert lm.calls <= paid + last.calls <= most
    read = mn.History.read(tmp_path / "torn")
    assert read.usage.calls == paid + last.calls
    assert read.usage == resumed.usage
    assert read.best.choice == history.best.choice
    assert read.verdict == history.verdict
    apart = ["best_so_far"]  # hangs on when the search last said what it believes
    assert read.trials_frame().drop(columns=apart).equals(history.trials_frame().drop(columns=apart))


@pytest.mark.slow
def test_a_log_tells_the_end_of_each_sitting_and_all_that_was_paid(tmp_path):
    stopped(tmp_path, 120, True)
    calls = mn.History.read(tmp_path).usage.calls
    again, _ = stopped(tmp_path, 180, True)
    read = mn.History.read(tmp_path)
    assert read.reason == "stopped: as asked"
    assert read.usage.calls == calls + again
    before = (tmp_path / "events.jsonl").read_bytes()
    compiled(tmp_path, stop_after=160)
    compiled(tmp_path)
    assert (tmp_path / "events.jsonl").read_bytes().startswith(before)
    assert mn.History.read(tmp_path).reason == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("killed", [True, False])
def test_a_run_that_is_stopped_before_it_comes_as_far_as_before_tells_all_that_was_paid(tmp_path, killed):
    calls, after = stopped(tmp_path, 120, True)
    assert after
    log = tmp_path / "events.jsonl"
    if killed:
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-5]))
    for place in (40, 70, 40):
        assert stopped(tmp_path, place, True) == (0, 0)
        assert mn.History.read(tmp_path).usage.calls == calls
    _, resumed, last = compiled(tmp_path)
    assert mn.History.read(tmp_path).usage == resumed.usage
    assert resumed.usage.calls == calls + last.calls


@pytest.mark.slow
def test_a_run_that_is_stopped_with_nothing_left_to_do_has_finished_when_it_is_resumed(tmp_path):
    lm = compiled(tmp_path / "calm", data={**DATA, "testset": []})[2]
    stopped_at = mn.History()
    for after in (120, lm.calls - 1):
        _, stopped_at, _ = compiled(tmp_path / "torn", stop_after=after, data={**DATA, "testset": []})
    paid = mn.History.read(tmp_path / "torn").usage.calls
    assert stopped_at.reason == "stopped: enough"
    _, resumed, last = compiled(tmp_path / "torn", data={**DATA, "testset": []})
    _, again, _ = compiled(tmp_path / "torn", data={**DATA, "testset": []})
    read = mn.History.read(tmp_path / "torn")
    assert read.reason == resumed.reason == "finished"
    assert read.usage.calls == resumed.usage.calls == again.usage.calls == paid + last.calls


@pytest.mark.slow
@pytest.mark.parametrize("search", ["paired", "mipro"])
def test_a_run_that_was_killed_while_it_evaluated_its_best_goes_on(tmp_path, search):
    settings = {"search": search}
    best, history, lm = compiled(tmp_path / "calm", settings=settings)
    calls, after = stopped(tmp_path / "torn", 230, True, settings)
    assert after > 10
    log = tmp_path / "torn" / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    (place,) = (n for n, line in enumerate(lines) if b'"stage": "stopping"' in line)
    log.write_bytes(b"".join(lines[: place + 12]))
    again, resumed, last = compiled(tmp_path / "torn", settings=settings)
    assert same((again, resumed), (best, history))
    assert calls + last.calls <= lm.calls + after
    read = mn.History.read(tmp_path / "torn")
    assert read.usage == resumed.usage
    assert read.best.choice == history.best.choice
    assert read.baseline.examples == history.baseline.examples


def test_a_finished_run_that_is_compiled_again_costs_nothing(tmp_path):
    first = compiled(tmp_path)
    before = (tmp_path / "events.jsonl").read_bytes()
    second = compiled(tmp_path)
    assert second[2].calls == 0
    assert same(first[:2], second[:2])
    assert (tmp_path / "events.jsonl").read_bytes() == before


def stopped_and_extended(where, search, after, evaluate, copy_at=None):
    """Stop after so many calls, extend; copy the directory after so many more. Return the run and its LM."""
    lm, pressed, extended, copied = fake(), [], [], []

    def look(event):
        if run.history.usage.calls > after and not pressed:
            pressed.append(True)
            run.stop(evaluate=evaluate)
        if isinstance(event, ev.RunExtended):
            extended.append(lm.calls)
        due = copy_at is not None and extended and lm.calls > extended[0] + copy_at and not copied
        if due and isinstance(event, ev.ExampleScored):
            copied.append(shutil.copytree(where, where.with_name("killed")))

    options = {**DATA, "run_dir": where, "listeners": [look], "requires_permission_to_run": True}
    with mn.context(lm=lm, progress=False):
        run = mn.MIPROv2(metric, seed=2, search=search).start(mn.Predict("q -> a"), **options)
    run.start()
    run.result(PATIENCE)
    run.extend(3)
    run.result(PATIENCE)
    return run, lm


@pytest.mark.slow
@pytest.mark.parametrize("search", ["paired", "mipro"])
def test_an_extension_of_a_stopped_run_is_one_however_often_the_run_is_resumed(tmp_path, search):
    stopped_and_extended(tmp_path, search, 120, True)
    first = compiled(tmp_path, settings={"search": search})
    again = compiled(tmp_path, settings={"search": search})
    assert again[2].calls == 0
    assert same(again[:2], first[:2])
    wished = [event for event in mn.History.read(tmp_path).events if isinstance(event, ev.Wished)]
    assert len(wished) == 1


@pytest.mark.parametrize(
    ("search", "after", "evaluate"),
    slow_but(
        itertools.product(["paired", "mipro", "thompson"], [90, 120, 170], [True, False]),
        lambda *case: case == ("paired", 120, True),
    ),
)
def test_a_run_that_was_stopped_and_extended_is_resumed_as_it_was(tmp_path, search, after, evaluate):
    run, _ = stopped_and_extended(tmp_path, search, after, evaluate)
    best, history, lm = compiled(tmp_path, settings={"search": search})
    assert same((best, history), (run.program, run.history))
    assert lm.calls == 0


@pytest.mark.slow
@pytest.mark.parametrize("search", ["paired", "mipro"])
@pytest.mark.parametrize("more", [40, 90])
def test_a_run_that_is_killed_in_its_extension_after_a_stop_goes_on_with_it(tmp_path, search, more):
    whole = tmp_path / "whole"
    run, lm = stopped_and_extended(whole, search, 120, True, copy_at=more)
    known = mn.History.read(tmp_path / "killed").usage.calls
    best, history, rest = compiled(tmp_path / "killed", settings={"search": search})
    assert same((best, history), (run.program, run.history))
    assert known + rest.calls <= lm.calls + 16, "those in flight when the copy was made"


@pytest.mark.parametrize("search", ["paired", "mipro"])
def test_an_extension_pays_for_what_it_asks_and_tells_of_no_more(tmp_path, search):
    lm = fake(replies=two_step_reply)
    with mn.context(lm=lm, progress=False):
        data = {"trainset": rows(10), "valset": rows(10, 100), "run_dir": tmp_path}
        run = mn.MIPROv2(metric, seed=1, search=search, num_candidates=3).start(TwoSteps(), **data, num_trials=3)
    run.result(PATIENCE)
    run.extend(3)
    run.result(PATIENCE)
    assert run.history.usage.calls == lm.calls
    assert mn.History.read(tmp_path).usage.calls == lm.calls


@pytest.mark.parametrize("wished", [False, True])
def test_an_extended_run_is_resumed_with_its_extension(tmp_path, wished):
    def begin(where, lm, **more):
        with mn.context(lm=lm, progress=False):
            run = mn.MIPROv2(metric, seed=2).start(mn.Predict("q -> a"), run_dir=where, **DATA, **more)
        run.result(PATIENCE)
        return run

    run = begin(tmp_path, fake())
    if wished:  # after the end: neither the search nor the verdict before knew of it
        run.add_instruction("self", "Answer as item 0.")
        run.ban("self", "instruction", run.history.best.instructions[0])
    run.extend(5)
    run.result(PATIENCE)
    lm = fake()
    again = begin(tmp_path, lm)
    assert lm.calls == 0
    assert again.history.trials_frame().equals(run.history.trials_frame())
    told = ev.VerdictReached | ev.Wished | ev.InstructionProposed
    found, wanted = ([one for one in each.history.events if isinstance(one, told)] for each in (again, run))
    assert found == wanted


MOMENTS = {
    "between trials": lambda event: isinstance(event, ev.TrialFinished) and event.trial == 4,
    "while instructions are proposed": lambda event: isinstance(event, ev.InstructionProposed) and event.round == 1,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_wishes_are_granted_again_where_they_were(tmp_path, moment):
    turn = {}

    def wishing(event):
        run = turn.get("run")
        if MOMENTS[moment](event) and run is not None and "done" not in turn:
            turn["done"] = True
            run.add_instruction("self", "Answer as item 0.")
            run.ban("self", "instruction", 0)
            run.extend(3)

    lm = fake()
    with mn.context(lm=lm, progress=False):
        optimizer = mn.MIPROv2(metric, seed=2)
        options = {**DATA, "listeners": [wishing], "run_dir": tmp_path, "requires_permission_to_run": True}
        turn["run"] = optimizer.start(mn.Predict("q -> a"), **options)
    turn["run"].start()
    turn["run"].result(PATIENCE)
    wanted = turn["run"].history
    assert {wished.wish["kind"] for wished in wanted.events if isinstance(wished, ev.Wished)} == {
        "add",
        "ban",
        "extend",
    }
    _, history, again = compiled(tmp_path)
    assert again.calls == 0
    assert history.trials_frame().equals(wanted.trials_frame())
    assert history.candidates_frame().equals(wanted.candidates_frame())


@pytest.mark.slow
def test_a_run_that_nobody_gave_a_directory_has_one(monkeypatch, tmp_path):
    monkeypatch.setenv("MIPRO_NB_DATA", str(tmp_path))
    compiled(None)
    (path,) = runs_directory().iterdir()
    assert path.is_relative_to(tmp_path)
    assert "Predict" in path.name
    assert mn.History.read(path).reason == "finished"


@pytest.mark.slow
def test_false_keeps_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("MIPRO_NB_DATA", str(tmp_path))
    compiled(False)
    assert not runs_directory().exists()


def test_a_program_of_any_name_has_a_directory():
    made = new_directory("../../<b> %s\0")
    assert made.parent == runs_directory()
    assert "<" not in made.name


@pytest.mark.slow
def test_without_a_place_to_write_the_run_goes_on_and_says_so(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("MIPRO_NB_DATA", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="is not kept"):
        _, history, _ = compiled(None)
    assert history.reason == "finished"
    assert any("not kept" in note.message for note in history.notes)


def refused(where, *words, **changes):
    before = {path.name: path.read_bytes() for path in where.iterdir() if path.name != "holder.json"}
    lm = fake()
    with pytest.raises(ConfigError) as said:
        compiled(where, **{"lm": lm, **changes})
    assert [word for word in words if word not in str(said.value)] == []
    assert lm.calls == 0
    assert {path.name: path.read_bytes() for path in where.iterdir() if path.name != "holder.json"} == before


class Other(mn.Module):
    def __init__(self):
        self.answer = mn.Predict("q -> a")

    def forward(self, q):
        return self.answer(q=q)


def other_metric(example, prediction, trace=None):
    return example.a == prediction.a and len(example.a) > 1


@pytest.mark.slow
def test_what_is_not_the_same_run_is_refused_and_the_difference_shown(tmp_path):
    compiled(tmp_path, 80)
    refused(tmp_path, "seed", "2 then, 3 now", settings={"seed": 3})
    refused(tmp_path, "num_candidates", "null then, 4 now", settings={"num_candidates": 4})
    refused(tmp_path, "trainset: 20 examples then, 21 now", data={**DATA, "trainset": rows(21)})
    refused(tmp_path, "valset", "the first that differs is number 0", data={**DATA, "valset": rows(60, 101)})
    refused(tmp_path, "testset", data={**DATA, "testset": None})
    refused(tmp_path, "program", '"Predict" then, "Other" now', program=Other())
    refused(tmp_path, "predictor 'self', signature", "Be brief", program=mn.Predict("q -> a", "Be brief."))
    refused(tmp_path, "metric", "other_metric", measure=other_metric)
    refused(tmp_path, "fake/lm", "fake/other", lm=fake(model="fake/other"))
    refused(tmp_path, "temperature", lm=fake(temperature=0.5))


def test_a_metric_whose_code_has_changed_is_refused_and_one_with_another_comment_is_not(tmp_path, monkeypatch):
    def write(body):
        (tmp_path / "measures.py").write_text(f"def measure(example, prediction, trace=None):\n{body}\n")
        sys.modules.pop("measures", None)
        import importlib
        import linecache

        importlib.invalidate_caches()
        linecache.clearcache()
        import measures

        return measures.measure

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    where = tmp_path / "run"
    compiled(where, 80, measure=write("    return example.a == prediction.a"))
    commented = write("    # exact\n    return (example.a ==\n            prediction.a)")
    compiled(where, 90, measure=commented)
    changed = write("    return example.a in prediction.a")
    refused(where, "metric: its code has changed", "-    return example.a == prediction.a", measure=changed)


@pytest.mark.slow
def test_a_run_that_was_extended_at_its_limit_is_resumed_with_its_extension(tmp_path):
    most = 271
    with mn.context(lm=fake(), progress=False):
        run = mn.MIPROv2(metric, seed=2).start(mn.Predict("q -> a"), run_dir=tmp_path, max_calls=most, **DATA)
    run.result(PATIENCE)
    assert run.history.reason.startswith("stopped: max_calls")
    run.extend(2)
    run.result(PATIENCE)
    best, history, lm = compiled(tmp_path, max_calls=most)
    assert lm.calls == 0
    assert best.to_json() == run.program.to_json()
    assert history.verdict == run.history.verdict
    assert [type(event) for event in history.events].count(ev.RunExtended) == 1
    assert history.usage == mn.History.read(tmp_path).usage == run.history.usage


@pytest.mark.slow
def test_limits_and_threads_may_be_others(tmp_path):
    compiled(tmp_path, 80)
    _, history, _ = compiled(tmp_path, settings={"num_threads": 3, "max_errors": 50}, max_cost=100.0)
    assert history.reason == "finished"


@pytest.mark.slow
@pytest.mark.parametrize(("search", "most"), [("paired", 271), ("mipro", 271), ("mipro", 361)])
def test_a_run_at_its_limit_that_is_resumed_with_the_same_limit_comes_to_the_same_verdict(tmp_path, search, most):
    settings = {"search": search, "num_threads": 1}  # what was in flight at the limit is another each time
    best, before, _ = compiled(tmp_path, max_calls=most, settings=settings)
    found, history, lm = compiled(tmp_path, max_calls=most, settings=settings)
    assert lm.calls == 0
    assert found.to_json() == best.to_json()
    assert history.verdict == before.verdict is not None


@pytest.mark.slow
@pytest.mark.parametrize("again", [{"stop_after": 30}, {"max_seconds": 1e-4}])
def test_a_resumed_run_that_ends_before_it_has_come_as_far_keeps_what_it_had(tmp_path, again):
    best, before, _ = compiled(tmp_path, 404)
    kept = {name: (tmp_path / name).read_bytes() for name in ("program.json", "summary.json")}
    found, _, lm = compiled(tmp_path, **again)
    assert lm.calls == 0
    assert found.to_json() == best.to_json()
    assert kept == {name: (tmp_path / name).read_bytes() for name in kept}
    read = mn.History.read(tmp_path)
    assert read.usage.calls == before.usage.calls
    assert read.best.choice == before.best.choice


@pytest.mark.slow
@pytest.mark.parametrize("most", [135, 271])
def test_the_log_of_a_run_that_is_allowed_more_shows_no_trial_as_another(tmp_path, most):
    settings = {"search": "mipro"}
    compiled(tmp_path, max_calls=most, settings=settings)
    _, history, _ = compiled(tmp_path, max_calls=5000, settings=settings)
    read = mn.Run.open(tmp_path).history
    assert read.trials_frame().drop(columns="best_so_far").equals(history.trials_frame().drop(columns="best_so_far"))
    assert read.best.choice == history.best.choice
    assert read.verdict == history.verdict is not None


@pytest.mark.slow
@pytest.mark.parametrize("most", [60, 200])
def test_a_run_that_is_allowed_more_tells_what_both_sittings_have_paid_and_no_more(tmp_path, most):
    _, _, first = compiled(tmp_path, max_calls=most)
    _, history, second = compiled(tmp_path, max_calls=5000)
    assert history.usage.calls == mn.History.read(tmp_path).usage.calls == first.calls + second.calls
    _, _, third = compiled(tmp_path, max_calls=5000)
    assert third.calls == 0
    assert mn.History.read(tmp_path).usage.calls == first.calls + second.calls


@pytest.mark.slow
def test_a_directory_that_a_run_holds_is_refused(tmp_path):
    begun, door = threading.Event(), threading.Event()

    def held(messages):
        begun.set()
        door.wait(PATIENCE)
        return reply(messages)

    with mn.context(lm=fake(replies=held), progress=False):
        run = mn.MIPROv2(metric, seed=2).start(mn.Predict("q -> a"), run_dir=tmp_path, **DATA)
    assert begun.wait(PATIENCE)
    assert is_held(tmp_path)
    with pytest.raises(ConfigError, match=f"process {os.getpid()}"):
        compiled(tmp_path)
    door.set()
    run.stop()
    run.result(PATIENCE)
    assert not is_held(tmp_path)
    compiled(tmp_path)


@pytest.mark.slow
def test_a_directory_that_is_refused_for_what_the_run_has_spent_is_let_go(tmp_path):
    class Unpriced(mn.testing.FakeLM):
        def _send(self, messages, sampling):
            return {**super()._send(messages, sampling), "cost": None}

    compiled(tmp_path, 80, lm=Unpriced(reply))
    with pytest.raises(ConfigError, match="isn't known; drop max_cost") as raised:  # held, as a notebook holds it
        compiled(tmp_path, max_cost=1.0)
    assert not is_held(tmp_path), raised
    assert compiled(tmp_path)[1].reason == "finished"


@pytest.mark.slow
def test_a_run_stays_where_it_is_when_the_working_directory_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()

    def move(event):
        if isinstance(event, ev.StageStarted) and event.stage == "search":
            os.chdir(tmp_path / "elsewhere")

    compiled("run", listeners=[move])
    assert not list((tmp_path / "elsewhere").iterdir())
    assert (tmp_path / "run" / "program.json").is_file()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there what is open can't be removed")
def test_a_directory_that_is_removed_in_the_middle_is_said(tmp_path):
    def remove(event):
        if isinstance(event, ev.StageStarted) and event.stage == "search":
            shutil.rmtree(tmp_path / "run")

    with pytest.warns(UserWarning, match=r"events\.jsonl can't be written \(it is gone\)"):
        _, history, _ = compiled(tmp_path / "run", listeners=[remove])
    assert history.reason == "finished"


@pytest.mark.slow
def test_a_log_that_no_job_stands_beside_is_left_alone(tmp_path):
    compiled(tmp_path)
    (tmp_path / "job.json").unlink()
    with pytest.raises(ConfigError, match="can't be told"):
        compiled(tmp_path)


def test_a_log_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path):
    compiled(tmp_path, 80)
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"event": "FromTomorrow", "at": 1.0}\n')
    before = (tmp_path / "events.jsonl").read_bytes()
    with pytest.raises(LoadError, match="FromTomorrow"):
        compiled(tmp_path)
    assert (tmp_path / "events.jsonl").read_bytes() == before
    record = json.loads((tmp_path / "job.json").read_text())
    (tmp_path / "job.json").write_text(json.dumps({**record, "format_version": 99}))
    (tmp_path / "events.jsonl").write_bytes(before[: before.rindex(b'{"event": "FromTomorrow"')])
    with pytest.raises(LoadError, match="format version 99"):
        compiled(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9, 0.999])
def test_a_log_that_was_cut_anywhere_is_gone_on_with(tmp_path, cut):
    best, history, _ = compiled(tmp_path / "calm")
    compiled(tmp_path / "cut")
    log = tmp_path / "cut" / "events.jsonl"
    log.write_bytes(log.read_bytes()[: int(log.stat().st_size * cut)])
    again, resumed, second = compiled(tmp_path / "cut")
    assert same((again, resumed), (best, history))
    assert second.calls == 0  # the journal has what the log has lost
    read = mn.History.read(tmp_path / "cut")
    assert read.verdict == history.verdict


@pytest.mark.parametrize(
    ("cached", "moment"),
    slow_but(itertools.product([False, True], range(5)), lambda cached, moment: moment == 3),
)
def test_a_run_that_asks_the_same_again_pays_once_for_each_however_it_is_cut(tmp_path, cached, moment):
    def begun(where, listeners=()):
        lm = fake(replies=two_step_reply, cache=Cache() if cached else False)
        data = {"trainset": rows(6), "valset": rows(12, 100)}
        settings = {"search": "mipro", "num_threads": 1, "num_candidates": 3}
        options = {"minibatch": False, "num_trials": 12, "listeners": listeners}
        return compiled(where, lm=lm, program=TwoSteps(), data=data, settings=settings, **options)

    def copy(event):
        seen.append(event)
        if isinstance(event, ev.LMUsed) and len(seen) > 150 + 40 * moment and not torn.exists():
            shutil.copytree(tmp_path / "calm", torn)  # what is told last has no example yet

    seen, torn = [], tmp_path / "torn"
    best, history, lm = begun(tmp_path / "calm", [copy])
    assert history.usage.calls == lm.calls
    assert (history.usage.cached_calls > 20) is cached
    known = (torn / "answers.jsonl").read_text().count('"key"')
    again, resumed, last = begun(torn)
    assert same((again, resumed), (best, history))
    assert known + last.calls == resumed.usage.calls == lm.calls
    assert resumed.usage == mn.History.read(torn).usage == history.usage


@pytest.mark.slow
def test_a_lost_journal_costs_no_more_than_what_the_log_does_not_hold(tmp_path):
    _, history, lm = compiled(tmp_path)
    (tmp_path / "answers.jsonl").unlink()
    _, again, second = compiled(tmp_path)
    searched = history.usage_by_stage["search"].calls + history.usage_by_stage["verdict"].calls
    assert second.calls == lm.calls - searched
    assert again.trials_frame().equals(history.trials_frame())


@pytest.mark.slow
def test_a_disk_that_fills_in_the_middle_is_said_and_the_best_is_returned(tmp_path, monkeypatch):
    from mipro_nb import eventlog

    lines = []

    def full(event):
        lines.append(event)
        if len(lines) > 150:
            raise OSError(28, "No space left on device")
        return written(event)

    written = eventlog.to_line
    monkeypatch.setattr(eventlog, "to_line", full)
    with pytest.warns(UserWarning, match="No space left"):
        best, history, _ = compiled(tmp_path)
    monkeypatch.undo()
    assert history.reason == "finished"
    assert any("No space left" in note.message for note in history.notes)
    again, _, second = compiled(tmp_path)
    assert second.calls == 0
    assert again.to_json() == best.to_json()


@pytest.mark.parametrize("path", ["/dev/null/run", "/proc/run"])
def test_a_path_where_nothing_can_be_written_is_refused(path):
    with pytest.raises(ConfigError, match="can't be used"):
        compiled(path)


@pytest.mark.slow
def test_the_best_program_is_there_while_the_run_goes_on(tmp_path):
    there = []

    def look(event):
        if isinstance(event, ev.VerdictReached):
            there.append(mn.load(tmp_path / "program"))

    best, _, _ = compiled(tmp_path, listeners=[look])
    assert there[-1].to_json() == best.to_json()


@pytest.mark.slow
@pytest.mark.parametrize("search", ["paired", "mipro"])
def test_a_run_that_is_stopped_at_twenty_moments_loses_nothing(tmp_path, search):
    settings = {"search": search}
    best, history, lm = compiled(tmp_path / "calm", settings=settings)
    rng, paid, most = random.Random(9), 0, lm.calls
    for number in range(20):
        calls, after = stopped(tmp_path / "torn", rng.randint(0, lm.calls), number % 2 == 0, settings)
        paid, most = paid + calls, most + after
    again, resumed, last = compiled(tmp_path / "torn", settings=settings)
    assert same((again, resumed), (best, history))
    assert paid + last.calls <= most
    read = mn.History.read(tmp_path / "torn")
    assert read.best.choice == history.best.choice
    assert read.usage == resumed.usage

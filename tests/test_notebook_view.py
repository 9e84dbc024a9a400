"""The live view without a browser: what is sent through the comm, what a button does, what is displayed."""

import gzip
import json
import logging
import threading
import time

import comm
import ipywidgets
import pytest
import traitlets
from comm.base_comm import BaseComm
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from programs import fake, metric, reply, rows

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.errors import ConfigError
from mipro_nb.notebook import feed as feeds
from mipro_nb.notebook import view as views
from mipro_nb.notebook.part import NEEDS, Part

PATIENCE = 60


class RecordingComm(BaseComm):
    """A comm that keeps what is sent."""

    sent: list = []

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        type(self).sent.append((time.monotonic(), self.comm_id, msg_type, data or {}, buffers or []))


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    RecordingComm.sent = []
    monkeypatch.setattr(comm, "create_comm", lambda *args, **keys: RecordingComm(*args, **keys))
    yield RecordingComm.sent
    ipywidgets.Widget.close_all()


@pytest.fixture
def shown(monkeypatch):
    """A real IPython shell whose displays are kept: (data, transient, update)."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    monkeypatch.setattr(shell, "kernel", object(), raising=False)  # as the shell of a Jupyter kernel has it
    kept = []

    class Publisher(CapturingDisplayPublisher):
        def publish(self, data, metadata=None, source=None, *, transient=None, update=False, **keys):
            kept.append((data, (transient or {}).get("display_id"), update))

    monkeypatch.setattr(shell, "display_pub", Publisher())
    yield kept
    InteractiveShell.clear_instance()


def optimize(replies=reply, **options):
    lm = fake(replies=replies)
    data = {"trainset": rows(20), "valset": rows(30, 20), "minibatch_size": 10, "num_trials": 4, **options}
    return mn.optimize(
        mn.Predict("q -> a"), metric=metric, task_model=lm, prompt_model=lm, num_candidates=4, seed=1, **data
    )


def until(check):
    deadline = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(view):
    view.run.wait(PATIENCE)
    until(lambda: view._status["state"] == view.run.status and view._feed._thread is None)
    return view


def opened(data):
    return json.loads(gzip.decompress(data))


class Gate:
    def __init__(self, after):
        self.open, self.calls, self.after, self.reached = threading.Event(), 0, after, threading.Event()

    def __call__(self, messages):
        self.calls += 1
        if self.calls > self.after:
            self.reached.set()
            assert self.open.wait(PATIENCE)
        return reply(messages)


def click(view, **wish):
    """What the front end sends."""
    view._handle_msg({"content": {"data": {"method": "custom", "content": wish}}, "buffers": []})


def test_it_is_a_widget_with_the_runs_methods():
    view = ended(optimize())
    assert isinstance(view, ipywidgets.DOMWidget)
    assert view.status == view.run.status == "finished"
    assert view.result().to_json() == view.run.program.to_json()
    assert len(view.trials) == len(view.run.trials)
    assert "extend" in dir(view)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        view.nonsense  # noqa: B018


def test_the_end_is_known_to_the_front_end():
    view = ended(optimize(testset=rows(10, 60), search="mipro"))
    assert view._status["verdict"]["examples"] == 10
    numbers = [row[0] for row in [*opened(view._base), *view._tail]]
    assert numbers == [trial.number for trial in view.run.history.trials]
    assert len(opened(view._texts)["instructions"]) == 4
    assert view._stats["winner"]["instructions"] == list(view.run.history.best.instructions)
    assert opened(view._examples)["total"] == 30
    assert opened(view._prompt)["after"]


@pytest.mark.slow
def test_few_small_messages_however_fast_the_run(sent):
    started = time.monotonic()
    view = ended(optimize(num_trials=150, max_bootstrapped_demos=2))
    seconds = time.monotonic() - started
    updates = [entry for entry in sent if entry[3].get("method") == "update" and entry[1] == view.comm.comm_id]
    assert len(view.run.trials) > 20
    assert 2 <= len(updates) <= seconds / feeds.PERIOD + 3
    sizes = [len(json.dumps(entry[3])) + sum(map(len, entry[4])) for entry in updates]
    assert max(sizes) < 5_000


def test_only_what_changed_is_sent(sent):
    view = ended(optimize())
    sent.clear()
    view._feed.poke()
    until(lambda: sent)
    changed = {name for entry in sent for name in entry[3].get("state", {})}
    assert changed == {"_status"}


def test_a_part_alone_gets_only_what_it_needs_and_shares_the_selection(sent):
    view = ended(optimize())
    for kind in ("progress", "chart", "candidates", "examples", "prompt"):
        part = getattr(view, kind)
        assert isinstance(part, Part)
        assert part is getattr(view, kind), "the same one each time"
        assert part._part == kind
        for name in set(NEEDS["all"]) - set(NEEDS[kind]):
            assert not getattr(part, name)
        for name in NEEDS[kind]:
            assert getattr(part, name) == getattr(view, name) or name == "_status"
    view.chart.selected = 3
    assert (view.selected, view.candidates.selected) == (3, 3)
    view.selected = None
    assert view.chart.selected is None


@pytest.mark.slow
def test_the_code_is_sent_once_and_carried_by_no_view(sent):
    one, two = ended(optimize()), ended(optimize())
    parts = [one.chart, one.prompt]
    carried = [entry for entry in sent if sum(map(len, entry[4])) > 50_000]
    assert len(carried) <= 1
    for view in (one, two, *parts):
        state = view.get_state()
        assert sum(len(value) for value in state.values() if isinstance(value, str | bytes)) < 20_000


@pytest.mark.slow
def test_stop_pause_and_go_on():
    gate = Gate(60)
    view = optimize(gate, num_trials=40)
    assert gate.reached.wait(PATIENCE)
    click(view, do="pause")
    assert view.run.status == "paused"
    until(lambda: view._status["state"] == "paused")
    click(view, do="unpause")
    assert view.run.status == "running"
    click(view, do="stop")
    gate.open.set()
    ended(view)
    assert view._status["state"] == "stopped"
    assert view.run.history.reason == "stopped: as asked"


@pytest.mark.slow
def test_the_second_click_on_stop_ends_the_evaluation_of_the_best():
    gate = Gate(120)
    view = optimize(gate, num_trials=40)
    assert gate.reached.wait(PATIENCE)
    click(view, do="stop")
    until(lambda: view._status["state"] == "stopping")
    assert view._status["again"] is False
    shown = []

    def hold(event):
        if isinstance(event, ev.Noted) and event.stage == ev.SETTLING:
            gate.open.clear()
            until(lambda: view._status["again"])
            shown.append(view._status["reason"])
            click(view, do="stop")
            gate.open.set()

    view.run.listen(hold)
    gate.open.set()
    ended(view)
    assert shown == ["evaluating the best so far; stop again to end at once"]
    assert view._status["state"] == "stopped"
    assert view._status["notes"][-1] == "the best so far isn't fully evaluated: it was stopped again."


def test_start_is_asked_for():
    view = optimize(requires_permission_to_run=True)
    assert view._status["state"] == "waiting"
    assert "evaluations; per predictor" in view._status["plan"]
    click(view, do="start")
    assert ended(view)._status["state"] == "finished"


@pytest.mark.slow
def test_extend_goes_on():
    view = ended(optimize())
    assert view._status["extendable"]
    before = len(view.run.trials)
    click(view, do="extend", n=3)
    until(lambda: len(ended(view).run.trials) > before)
    until(lambda: len([*opened(view._base), *view._tail]) == len(view.run.trials))


@pytest.mark.slow
@pytest.mark.parametrize(
    "wish",
    [{}, {"do": "extend", "n": 0}, {"do": "extend", "n": 10**9}, {"do": "extend", "n": "3"}, {"do": "dance"},
     {"do": "example"}, {"do": "example", "id": "x", "ask": 1}, {"do": "examples", "ask": 1}, None, [], "stop"],
)  # fmt: skip
def test_what_isnt_understood_is_left(wish, caplog):
    view = ended(optimize())
    before = len(view.run.trials)
    view._handle_msg({"content": {"data": {"method": "custom", "content": wish}}, "buffers": []})
    ended(view)
    assert len(view.run.trials) == before
    assert not caplog.records


def test_questions_about_examples_are_answered(sent):
    view = ended(optimize())
    sent.clear()
    click(view, do="example", id=3, ask=7)
    click(view, do="examples", change="fixed", query="", start=0, ask=8)
    answers = {e[3]["content"]["to"]: e[3]["content"] for e in sent if e[3].get("method") == "custom"}
    assert answers[7]["before"]["calls"][0]["messages"]
    assert {row[3] for row in answers[8]["rows"]} == {"fixed"}


@pytest.mark.slow
def test_the_heartbeat_beats_while_nothing_happens(monkeypatch, sent):
    monkeypatch.setattr(feeds, "HEARTBEAT", 0.5)
    gate = Gate(10)
    view = optimize(gate)
    assert gate.reached.wait(PATIENCE)
    beat = view._status["beat"]
    until(lambda: view._status["beat"] >= beat + 2)
    gate.open.set()
    ended(view)


def test_a_closed_view_gets_nothing_more_and_the_run_goes_on(sent, caplog):
    gate = Gate(30)
    view = optimize(gate)
    assert gate.reached.wait(PATIENCE)
    view.close()
    gate.open.set()
    assert view.run.wait(PATIENCE)
    assert view.run.status == "finished"
    assert not caplog.records


def test_a_drawing_bug_is_logged_and_the_run_goes_on(monkeypatch, caplog):
    gate = Gate(30)
    view = optimize(gate)
    assert gate.reached.wait(PATIENCE)
    monkeypatch.setattr(feeds.wire, "stats", lambda history: 1 / 0)
    with caplog.at_level(logging.ERROR):
        gate.open.set()
        assert view.run.wait(PATIENCE)
        until(lambda: view._feed._thread is None)
    assert view.run.status == "finished"
    assert "could not be updated" in caplog.text


def test_a_failed_run_shows_its_error():
    def broken(example, prediction):
        raise KeyError("no such field")

    lm = fake()
    view = mn.optimize(mn.Predict("q -> a"), metric=broken, trainset=rows(10), task_model=lm, prompt_model=lm)
    view.run.wait(PATIENCE)
    until(lambda: view._status["state"] == "failed")
    assert "no such field" in view._status["error"]


def test_a_run_displays_as_its_view(shown):
    view = ended(optimize())
    view.run._ipython_display_()
    assert any("MIPROv2" in str(data) or "finished" in str(data) for data, _, _ in shown)
    assert views.view_of(view.run) is view


def test_it_is_shown_live_and_frozen_at_the_end(shown):
    gate = Gate(30)
    view = optimize(gate, testset=rows(10, 60))
    assert gate.reached.wait(PATIENCE)
    view._ipython_display_()
    (live, first, _), (room, second, _) = shown
    assert live["application/vnd.jupyter.widget-view+json"]["model_id"] == view.model_id
    assert live["text/plain"]
    gate.open.set()
    ended(view)
    frozen = {display: data for data, display, update in shown if update}
    assert "application/vnd.jupyter.widget-view+json" not in frozen[first]
    assert view.run.history.verdict.word in frozen[first]["text/html"].lower()
    assert "image/png" in frozen[second]
    assert "application/vnd.vegalite.v5+json" in frozen[second]
    assert room["text/plain"] == ""


@pytest.mark.slow
def test_every_cell_that_shows_it_is_frozen_once(shown):
    gate = Gate(30)
    view = optimize(gate)
    assert gate.reached.wait(PATIENCE)
    view._ipython_display_()
    view._ipython_display_()
    gate.open.set()
    ended(view)
    assert len([1 for data, _, update in shown if update and "text/html" in data]) == 2


def test_shown_after_the_end_it_is_live_where_widgets_are_known(shown):
    gate = Gate(30)
    view = optimize(gate)
    click(view, do="hello")
    gate.open.set()
    ended(view)
    view._ipython_display_()
    assert "application/vnd.jupyter.widget-view+json" in shown[-2][0]


@pytest.mark.slow
def test_shown_while_its_end_is_being_drawn_it_stays_live(shown, monkeypatch):
    drawing, go_on, draw = threading.Event(), threading.Event(), views.static.frozen_chart

    def slowly(history):
        drawing.set()
        assert go_on.wait(PATIENCE)
        return draw(history)

    monkeypatch.setattr(views.static, "frozen_chart", slowly)
    gate = Gate(30)
    view = optimize(gate)
    click(view, do="hello")
    assert gate.reached.wait(PATIENCE)
    view._ipython_display_()
    gate.open.set()
    assert drawing.wait(PATIENCE)
    assert view.status == "finished"
    view._ipython_display_()
    before, after = shown[0][1], shown[2][1]
    go_on.set()
    ended(view)
    assert [display for data, display, update in shown if update and "text/html" in data] == [before]
    view.extend(1)
    ended(view)
    assert {display for data, display, update in shown if update and "text/html" in data} == {before, after}


@pytest.mark.slow
def test_shown_after_the_end_it_is_frozen_when_the_kernel_shuts_down(shown):
    gate = Gate(30)
    view = optimize(gate)
    click(view, do="hello")
    gate.open.set()
    ended(view)
    view._ipython_display_()
    assert not any(update for _, _, update in shown)
    view._shut_down()
    assert {display for data, display, update in shown if update and "text/html" in data} == {shown[0][1]}


@pytest.mark.slow
def test_shown_after_the_end_it_is_frozen_where_they_arent(shown):
    view = ended(optimize())
    view._ipython_display_()
    assert "text/html" in shown[-2][0]
    assert "image/png" in shown[-1][0]


@pytest.mark.slow
def test_a_saved_run_that_is_opened_again_is_live(shown, tmp_path):
    ended(optimize(run_dir=tmp_path))
    first = mn.Run.open(tmp_path)
    first._ipython_display_()
    page = shown[-2][0]["text/html"]
    assert "<b>MIPROv2 · Predict · finished</b>" in page
    assert "Saved run of" in page
    assert "extend the run" not in page
    mn.Run.open(tmp_path)._ipython_display_()
    assert "application/vnd.jupyter.widget-view+json" in shown[-2][0]


@pytest.mark.slow
def test_text_is_updated_in_place_where_no_widget_answers(shown, monkeypatch):
    monkeypatch.setattr(views, "TEXT_PERIOD", 0.0)
    gate = Gate(60)
    view = optimize(gate)
    view._ipython_display_()
    view._listen_for_a_widget()
    assert gate.reached.wait(PATIENCE)
    view._feed.poke()
    first = shown[0][1]

    def texts():
        return [data["text/plain"] for data, display, update in shown if update and display == first]

    until(lambda: any("3/3 search" in text for text in texts()))
    gate.open.set()
    ended(view)


@pytest.mark.slow
def test_where_a_widget_answers_no_text_is_written(shown):
    gate = Gate(60)
    view = optimize(gate)
    view._ipython_display_()
    click(view, do="hello")
    view._listen_for_a_widget()
    assert gate.reached.wait(PATIENCE)
    view._feed.poke()
    time.sleep(1)
    assert not any(update for _, _, update in shown)
    gate.open.set()
    ended(view)


@pytest.mark.slow
def test_when_the_kernel_shuts_down_the_run_stops_and_the_output_freezes(shown):
    gate = Gate(60)
    view = optimize(gate)
    view._ipython_display_()
    assert gate.reached.wait(PATIENCE)
    view._shut_down()
    assert view.run.status == "stopping"
    assert any(update and "text/html" in data for data, _, update in shown)
    gate.open.set()
    ended(view)


@pytest.mark.slow
def test_a_kernel_that_ends_before_its_chart_is_drawn_leaves_the_page(shown, monkeypatch):
    def killed(history):
        raise SystemExit

    gate = Gate(60)
    view = optimize(gate)
    view._ipython_display_()
    assert gate.reached.wait(PATIENCE)
    monkeypatch.setattr("mipro_nb.notebook.static.frozen_chart", killed)
    with pytest.raises(SystemExit):
        view._shut_down()
    assert any(update and "text/html" in data for data, _, update in shown)
    gate.open.set()
    monkeypatch.undo()
    ended(view)


def test_optimize_takes_every_setting_of_the_class_and_of_compile():
    view = ended(optimize(auto=None, init_temperature=0.5, minibatch=False, max_labeled_demos=2))
    assert view.run.history.started.settings["init_temperature"] == 0.5
    assert all(trial.kind != "minibatch" for trial in view.run.history.trials)


def test_a_misspelt_setting_says_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'auto'"):
        mn.optimize(mn.Predict("q -> a"), metric=metric, trainset=rows(10), auot="light")


def test_help_knows_all_settings():
    import inspect

    names = list(inspect.signature(mn.optimize).parameters)
    assert {"program", "metric", "trainset", "auto", "num_trials", "max_cost", "seed", "search"} <= set(names)
    assert "self" not in names


@pytest.mark.slow
def test_no_key_is_in_the_state_of_any_widget():
    key = "sk-canary-0123456789"
    lm = mn.LM("openai/gpt-5-mini", api_key=key)
    optimizer = mn.MIPROv2(metric=metric, task_model=lm, prompt_model=lm)
    run = optimizer.start(mn.Predict("q -> a"), trainset=rows(10), requires_permission_to_run=True)
    view = views.RunView(run)
    for widget in (view, view.chart, view._code):
        assert key not in str(widget.get_state())
        for value in widget.get_state().values():
            if isinstance(value, bytes) and value[:2] == b"\x1f\x8b":
                assert key.encode() not in gzip.decompress(value)
    run.stop()


def test_its_traits_can_be_watched():
    view = optimize()
    seen = []
    view.observe(lambda change: seen.append(change["new"]["state"]), "_status")
    ended(view)
    assert "finished" in seen
    assert isinstance(view, traitlets.HasTraits)


@pytest.mark.slow
def test_waiting_in_a_kernel_writes_a_few_lines_that_are_updated_in_place(shown, monkeypatch):
    monkeypatch.setattr("mipro_nb.console.in_kernel", lambda: True)
    monkeypatch.setattr("mipro_nb.notebook.outputs.PERIOD", 0.0)
    gate = Gate(60)
    view = optimize(gate)
    assert gate.reached.wait(PATIENCE)
    threading.Timer(0.5, gate.open.set).start()
    with mn.context(progress=True):
        assert view.wait(PATIENCE)
    assert len({display for _, display, _ in shown}) == 1
    assert [update for _, _, update in shown] == [False, *[True] * (len(shown) - 1)]
    assert "Predict: running" in shown[0][0]["text/plain"]
    assert "Predict: finished" in shown[-1][0]["text/plain"]


@pytest.mark.slow
def test_on_a_terminal_it_is_one_plain_text(capsys):
    InteractiveShell.clear_instance()
    view = optimize()
    view._ipython_display_()
    ended(view)
    view._ipython_display_()
    told = capsys.readouterr().out
    assert told.count("best combination") == 1
    assert "text/plain" not in told


@pytest.mark.slow
def test_an_extended_run_freezes_anew_wherever_it_was_shown(shown):
    gate = Gate(30)
    view = optimize(gate)
    assert gate.reached.wait(PATIENCE)
    view._ipython_display_()
    gate.open.set()
    ended(view)
    first = [data["text/html"] for data, _, update in shown if update and "text/html" in data]
    view.extend(6)
    ended(view)
    frozen = [data["text/html"] for data, _, update in shown if update and "text/html" in data]
    assert len(frozen) == 2
    assert frozen[0] == first[0] != frozen[1]
    view._shut_down()
    assert len([1 for data, _, update in shown if update and "text/html" in data]) == 2, "nothing has changed since"


def test_half_a_character_from_an_lm_or_a_metric_reaches_the_end(sent, caplog):
    def broken(example, prediction):
        raise ValueError("half \ud800")

    lm = fake()
    view = mn.optimize(mn.Predict("q -> a"), metric=broken, trainset=rows(10), task_model=lm, prompt_model=lm)
    view.run.wait(PATIENCE)
    until(lambda: view._status["state"] == "failed")
    assert "half" in view._status["error"]
    json.dumps(view._status, ensure_ascii=False).encode()
    assert not caplog.records

    def metric_of_half(example, prediction):
        return mn.Score(example.a == prediction.a, "feedback \ud83d")

    view = ended(mn.optimize(mn.Predict("q -> a"), metric=metric_of_half, trainset=rows(20), task_model=lm,
                             prompt_model=lm, num_trials=2))  # fmt: skip
    click(view, do="example", id=0, ask=1)
    answer = [entry[3]["content"] for entry in sent if entry[3].get("method") == "custom"][-1]
    assert "feedback" in json.dumps(answer, ensure_ascii=False).encode().decode()


@pytest.mark.slow
def test_closed_views_leave_nothing_behind():
    gate = Gate(30)
    view = optimize(gate)
    assert gate.reached.wait(PATIENCE)
    threads = []
    for _ in range(3):
        twin = views.RunView(view.run)
        until(lambda twin=twin: twin._feed._thread is not None)
        twin.chart.selected = 1
        threads.append(twin._feed._thread)
        twin.close()
    until(lambda: not any(thread.is_alive() for thread in threads))
    gate.open.set()
    ended(view)


def test_an_interrupt_while_the_view_is_made_stops_the_run(monkeypatch):
    made = []

    def interrupted(run):
        made.append(run)
        raise KeyboardInterrupt

    monkeypatch.setattr(views, "view_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        optimize(num_trials=1000)
    made[0].wait(PATIENCE)
    assert made[0].status == "stopped"


def test_large_values_go_in_turn_and_none_is_left_behind(sent):
    view = ended(optimize())
    part = views.Part("all", {}, lambda *_: None)
    large = {"_status": {"n": 0}, "_base": b"b" * 6000, "_tail": [], "_texts": b"t" * 9000, "_prompt": b"p" * 5000}
    for number in range(4):  # the status changes all the time
        part.take({**large, "_status": {"n": number, "text": "x" * 1500}})
    assert (part._base, part._texts, part._prompt) == (large["_base"], large["_texts"], large["_prompt"])
    assert part.take({**large, "_status": {"n": 4}})
    assert view.run.status == "finished"

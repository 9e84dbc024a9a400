"""What comes while a run searches: later rounds, demo sets of what was hard, people's own; and what limits it."""

import json
import threading

import pytest
from programs import TwoSteps, chance, fake, is_description, is_proposal, metric, reply, rows, two_step_reply

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.errors import ConfigError, LMUnavailable, LoadError
from mipro_nb.search import candidates_of
from mipro_nb.testing import EventRecorder

PATIENCE = 60
DATA = {"trainset": rows(30), "valset": rows(60, 100)}


def start(program=None, lm=None, settings=None, **options):
    lm = lm or fake()
    optimizer = mn.MIPROv2(metric, task_model=lm, prompt_model=lm, seed=1, **(settings or {}))
    return optimizer.start(program or mn.Predict("q -> a"), **{**DATA, **options})


def done(*args, **options):
    run = start(*args, **options)
    run.result(PATIENCE)
    return run


def rounds(run):
    return sorted({one.round for one in run.history.instructions})


def tried(run):
    return [(trial.instructions, trial.demos) for trial in run.history.trials]


class Door:
    """Holds a run at its first event of a kind, until it is let through."""

    def __init__(self, kind, when=lambda event: True):
        self.kind, self.when, self.reached, self.open = kind, when, threading.Event(), threading.Event()

    def __call__(self, event):
        if isinstance(event, self.kind) and self.when(event) and not self.reached.is_set():
            self.reached.set()
            assert self.open.wait(PATIENCE)


def test_later_rounds_bring_instructions_and_demo_sets_that_are_tried():
    run = done()
    planned = run.plan.later_instructions
    assert rounds(run) == list(range(len(planned) + 1)) != [0]
    first = [one for one in run.history.instructions if not one.round]
    assert len(first) <= run.plan.num_instructions
    later = [one for one in run.history.instructions if one.round]
    assert 0 < len(later) <= sum(planned)
    assert {one.index for one in later} & {trial.instructions[0] for trial in run.history.trials}
    harder = [made for made in run.history.demo_sets if made.origin == "harder"]
    assert harder
    assert {made.index for made in harder} & {trial.demos[0] for trial in run.history.trials}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"proposals": "once"}, {"search": "mipro"}])
def test_proposals_once_are_made_before_the_search_alone(settings):
    run = done(settings=settings)
    assert rounds(run) == [0]
    assert run.plan.later_instructions == ()


@pytest.mark.slow
@pytest.mark.parametrize("search", ["paired", "thompson"])
def test_threads_and_latencies_make_no_difference(search):
    def slow(messages):
        threading.Event().wait(chance(messages, "wait") * 0.004)
        return reply(messages)

    one = done(settings={"num_threads": 1, "search": search})
    many = done(settings={"num_threads": 8, "search": search}, lm=fake(replies=slow))
    for told in (one, many):
        assert len(rounds(told)) > 1
    assert tried(one) == tried(many)
    assert [t.score for t in one.history.trials] == [t.score for t in many.history.trials]
    assert [i.text for i in one.history.instructions] == [i.text for i in many.history.instructions]
    assert one.program.to_json() == many.program.to_json()


# --- what people add and take away


@pytest.mark.slow
def test_an_instruction_added_before_the_search_is_tried():
    run = start(requires_permission_to_run=True)
    run.add_instruction("self", "  Answer as the master would.  ")
    run.start()
    run.result(PATIENCE)
    (added,) = (one for one in run.history.instructions if one.origin == "added")
    assert added.text == "Answer as the master would."
    assert any(trial.instructions == (added.index,) for trial in run.history.trials)
    assert len(rounds(run)) > 1, "and the planned rounds come all the same"


@pytest.mark.slow
def test_an_instruction_added_in_the_middle_can_win():
    def best_of_all(messages):
        if messages[0]["content"].startswith("Master."):
            return f"a: answer {messages[-1]['content'].split()[-1]}"
        told = reply(messages)
        return told if not told.startswith("a:") or chance(messages, "weak") < 0.5 else "a: no idea"

    door = Door(ev.TrialFinished)
    run = start(lm=fake(replies=best_of_all), listeners=[door])
    assert door.reached.wait(PATIENCE)
    run.add_instruction("self", "Master.")
    door.open.set()
    assert run.result(PATIENCE).signature.instructions == "Master."


def test_an_instruction_added_after_the_end_is_tried_when_extended():
    run = done(num_trials=2, trainset=rows(3), valset=rows(4, 50), settings={"num_candidates": 2})
    run.add_instruction("self", "One more idea.")
    run.extend(3)
    run.result(PATIENCE)
    (added,) = (one for one in run.history.instructions if one.origin == "added")
    assert any(trial.instructions == (added.index,) for trial in run.history.trials)


def test_a_ban_of_the_leader_makes_another_win():
    run = done(num_trials=10)
    best = run.history.best
    table = run.candidates
    row = table[(table["kind"] == "instruction") & (table["index"] == best.instructions[0])].iloc[0]
    run.ban(row)
    before = len(run.history.events)
    run.extend(2)
    run.result(PATIENCE)
    assert run.history.best.instructions != best.instructions
    assert [(one.kind, one.index) for one in run.history.banned] == [("instruction", best.instructions[0])]
    later = [event for event in run.history.events[before:] if isinstance(event, ev.TrialStarted)]
    assert later
    assert not [event for event in later if event.instructions == best.instructions and event.kind != "baseline"]


@pytest.mark.slow
def test_the_program_itself_can_be_banned():
    lm = fake(replies=lambda m: reply(m) if is_proposal(m) or is_description(m) else "a: same")
    door = Door(ev.TrialFinished)
    run = start(lm=lm, listeners=[door], settings={"max_bootstrapped_demos": 0, "max_labeled_demos": 0})
    assert door.reached.wait(PATIENCE)
    run.ban("self", "instruction", 0)
    door.open.set()
    assert run.result(PATIENCE).signature.instructions != mn.Predict("q -> a").signature.instructions


def test_the_last_one_cant_be_banned_and_the_run_goes_on():
    door = Door(ev.TrialFinished)
    settings = {"num_candidates": 2, "max_bootstrapped_demos": 0, "max_labeled_demos": 0, "proposals": "once"}
    run = start(listeners=[door], settings=settings, num_trials=4)
    assert door.reached.wait(PATIENCE)
    run.ban("self", "instruction", 0)
    run.ban("self", "instruction", 1)
    door.open.set()
    run.result(PATIENCE)
    assert run.status == "finished"
    assert any("instruction 1 is the last one" in note.message for note in run.history.notes)
    assert run.history.best.instructions == (1,)


@pytest.mark.slow
def test_wrong_wishes_are_named():
    run = done(TwoSteps(), lm=fake(replies=two_step_reply), freeze=["hint"], num_trials=2)
    with pytest.raises(ConfigError, match="Did you mean 'answer'"):
        run.add_instruction("anser", "x")
    with pytest.raises(ConfigError, match="'hint' is frozen"):
        run.add_instruction("hint", "x")
    with pytest.raises(ConfigError, match="text=' '"):
        run.add_instruction("answer", " ")
    with pytest.raises(ConfigError, match="has no such demos; there is 0 to"):
        run.ban("answer", "demos", 99)
    with pytest.raises(ConfigError, match="kind='demo'"):
        run.ban("answer", "demo", 0)
    with pytest.raises(ConfigError, match=r"a row of run\.candidates"):
        run.ban(3)
    old = done(settings={"search": "mipro"}, num_trials=2)
    for wish in (lambda: old.add_instruction("self", "x"), lambda: old.ban("self", "instruction", 0)):
        with pytest.raises(ConfigError, match="search='mipro'"):
            wish()


# --- limits


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep": "text"}, "keep='text'"),
        ({"keep": [" "]}, "keep="),
        ({"freeze": "self"}, "freeze='self'"),
        ({"freeze": ["slef"]}, "Did you mean 'self'"),
        ({"freeze": ["self"]}, "leaves no predictor"),
        ({"max_prompt_tokens": 0}, "max_prompt_tokens=0"),
        ({"max_prompt_tokens": 3}, "max_prompt_tokens=3: the prompts have about"),
        ({"token_price": -0.1}, "token_price=-0.1"),
        ({"token_price": True}, "token_price=True"),
        ({"memory": 3}, "memory=3"),
        ({"memory": "."}, "is a directory"),
    ],
)
def test_a_wrong_limit_is_named_before_anything_is_spent(options, words):
    lm = fake()
    with pytest.raises(ConfigError, match=words):
        start(lm=lm, **options)
    assert lm.calls == 0


@pytest.mark.parametrize("option", [{"max_prompt_tokens": 900}, {"token_price": 0.1}, {"memory": "there.json"}])
def test_mipros_search_says_which_limits_it_doesnt_know(option):
    with pytest.raises(ConfigError, match="search='mipro'"):
        start(settings={"search": "mipro"}, **option)


def test_proposals_is_learn_or_once():
    with pytest.raises(ConfigError, match="'learn', 'once'"):
        mn.MIPROv2(metric, proposals="twice")
    with pytest.raises(ConfigError, match="proposals='learn'"):
        mn.MIPROv2(metric, proposals="learn", search="mipro")


@pytest.mark.slow
def test_frozen_predictors_stay_as_they_are():
    student = TwoSteps()
    student.hint.demos = [mn.Example(q="item 1", hint="1")]
    run = done(student, lm=fake(replies=two_step_reply), freeze=["hint"])
    best = run.program
    assert best.hint.to_json() == student.hint.to_json()
    assert len(rounds(run)) > 1
    assert {trial.instructions[0] for trial in run.history.trials} == {0}
    assert {trial.demos[0] for trial in run.history.trials} == {0}
    assert [made.origin for made in run.history.demo_sets if made.predictor == "hint"] == ["student"]
    assert [one.index for one in run.history.instructions if one.predictor == "hint"] == [0]
    table = run.candidates
    assert len(table[table["predictor"] == "hint"]) == 2


@pytest.mark.slow
def test_every_proposed_instruction_keeps_what_it_must():
    door = Door(ev.TrialFinished)
    run = start(keep=["Never tell prices."], listeners=[door])
    assert door.reached.wait(PATIENCE)
    run.add_instruction("self", "My own.")
    door.open.set()
    run.result(PATIENCE)
    assert len(rounds(run)) > 1
    proposed = [one.text for one in run.history.instructions if one.origin != "original"]
    assert proposed
    assert all("Never tell prices." in text for text in proposed)
    assert "My own." in " ".join(proposed)


def length(run, trial):
    """Characters that a combination adds to the program's prompts."""
    texts = {one.index: one.text for one in run.history.instructions}
    sets = {made.index: made.demos for made in run.history.demo_sets}
    shown = [str(value) for demo in sets[trial.demos[0]] for value in demo.values()]
    return len(texts[trial.instructions[0]]) + sum(map(len, shown))


@pytest.mark.slow
def test_nothing_longer_than_the_limit_is_tried():
    free = done()
    lengths = [length(free, trial) for trial in free.history.trials]
    longest = (min(lengths) + max(lengths)) // 2
    rest = free.job  # the rest of the prompts is the same in both
    from mipro_nb.estimate import rest_tokens

    run = done(max_prompt_tokens=int(rest_tokens(rest) + longest / 4))
    tried = [length(run, trial) for trial in run.history.trials if trial.kind != "baseline"]
    assert tried
    assert max(tried) <= longest + 4


@pytest.mark.slow
def test_a_program_that_is_too_long_itself_cant_win():
    student = mn.Predict("q -> a", "Answer. " * 200)
    run = done(student, max_prompt_tokens=200)
    assert any("exceed max_prompt_tokens=200" in remark for remark in run.plan.remarks)
    assert candidates_of(run.program).tokens(candidates_of(run.program).baseline) < 200


def test_that_nothing_fits_is_said():
    lm = fake(replies=lambda m: "Word " * 100 if is_proposal(m) else reply(m))
    run = done(mn.Predict("q -> a", "Answer. " * 200), lm=lm, max_prompt_tokens=60)
    assert any("no combination fits max_prompt_tokens=60" in note.message for note in run.history.notes)
    assert run.status == "finished"


@pytest.mark.slow
def test_a_price_of_tokens_prefers_the_shorter_of_equals():
    def equal(messages):
        if is_proposal(messages) or is_description(messages):
            return reply(messages)
        good = "style" in messages[0]["content"]
        return f"a: answer {messages[-1]['content'].split()[-1]}" if good else "a: no idea"

    run = done(lm=fake(replies=equal), token_price=1.0)
    assert run.program.demos == []
    assert "style" in run.program.signature.instructions


# --- memory over runs


@pytest.mark.slow
def test_a_memory_grows_from_run_to_run_and_seeds_the_next(tmp_path):
    path = tmp_path / "memory.json"
    run = done(memory=path)
    first = json.loads(path.read_text())
    assert [one["run"] for one in first["runs"]] == [run.history.started.run_id]
    assert first["runs"][0]["results"]
    again = done(memory=path)
    assert again.job.memory
    assert len(json.loads(path.read_text())["runs"]) == 2


def test_a_damaged_memory_is_refused_before_anything_is_spent(tmp_path):
    path, lm = tmp_path / "memory.json", fake()
    path.write_text("{half")
    with pytest.raises(LoadError, match="memory"):
        start(lm=lm, memory=path)
    assert lm.calls == 0
    assert path.read_text() == "{half"


# --- failures


@pytest.mark.slow
def test_an_outage_in_the_middle_gives_the_best_so_far():
    recorder = EventRecorder()

    def dies(messages):
        if len(recorder.of(ev.PosteriorUpdated)) > 2:
            raise LMUnavailable("down")
        return reply(messages)

    # an answer may still come in between failures, which then begin to count anew
    settings = {"max_errors": 100}
    run = done(lm=fake(replies=dies, num_retries=0), settings=settings, listeners=[recorder], max_outage=0.2)
    assert run.status == "stopped"
    assert run.history.reason == "stopped: the LM has not answered for 0.2 s"
    best = run.history.best
    assert run.program.signature.instructions == run.history.instructions[best.instructions[0]].text


@pytest.mark.slow
def test_single_failures_are_missing_and_never_zero():
    failed = set()

    def flaky(messages):
        key = str(messages)
        if not is_proposal(messages) and not is_description(messages) and chance(key, "fails") < 0.02:
            failed.add(key)
            raise LMUnavailable("hiccup")
        return reply(messages)

    run = done(lm=fake(replies=flaky, num_retries=0))
    assert run.status == "finished"
    assert failed
    lost = [one for trial in run.history.trials for one in trial.scored.values() if one.error]
    assert lost
    assert {one.score for one in lost} == {None}
    for trial in run.history.trials:
        known = [one.score for one in trial.scored.values() if one.score is not None]
        assert trial.score is None or trial.score == pytest.approx(sum(known) / len(known))


@pytest.mark.slow
def test_a_teacher_and_demos_of_its_own_go_with_later_rounds():
    teacher = fake(replies=lambda m: f"a: answer {m[-1]['content'].split()[-1]}", model="fake/teacher")
    student = mn.Predict("q -> a", demos=[mn.Example(q="item 1", a="answer 1")])
    run = done(student, teacher=teacher)
    assert teacher.calls
    assert run.status == "finished"
    assert [made.index for made in run.history.demo_sets] == list(range(len(run.history.demo_sets)))
    assert {"student", "recombined"} <= {made.origin for made in run.history.demo_sets}

"""MIPROv2 as a user meets it: the seed forms, what is bettered, and whatever can be wrong with the input."""

import copy
import json
import math

import pytest
from programs import TwoSteps, fake, is_description, is_proposal, metric, reply, rows, two_step_reply

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.errors import ConfigError, DataError, LMUnavailable, MetricError, TooManyErrors, WeightsError
from mipro_nb.testing import EventRecorder


def trials(history):
    return [(t.kind, t.instructions, t.demos, t.score, t.examples) for t in history.trials]


def finished(history):
    return [trial for trial in history.trials if trial.finished]


def run(program=None, *, lm=None, train=None, optimizer=None, given_metric=metric, **options):
    history = mn.History()
    optimizer = optimizer or mn.MIPROv2(given_metric)
    with mn.context(lm=lm or fake()):
        best = optimizer.compile(
            program or mn.Predict("q -> a"), trainset=train or rows(30), **{"listeners": [history], **options}
        )
    return best, history


def test_the_first_seed_form_runs_as_written(tmp_path):
    mn.configure(lm=fake())
    program, train = mn.Predict("q -> a"), rows(50)
    optimizer = mn.MIPROv2(metric=metric, num_candidates=7, init_temperature=0.5)
    best = optimizer.compile(
        program,
        trainset=train,
        max_bootstrapped_demos=3,
        max_labeled_demos=4,
        num_trials=15,
        minibatch_size=25,
        requires_permission_to_run=False,
    )
    best.save(tmp_path / "my_optimized_prompt")
    assert (tmp_path / "my_optimized_prompt.json").is_file()
    assert isinstance(best.predictors[0].signature.instructions, str)
    assert len(best.predictors[0].demos) <= 4
    again = mn.load(tmp_path / "my_optimized_prompt")
    assert again.signature == best.signature
    assert again.demos == best.demos


def test_the_second_seed_form_runs_as_written():
    class Route(mn.Signature):
        """Route the customer message to the team that can solve it."""

        q: str = mn.InputField()
        a: str = mn.OutputField()

    mn.configure(lm=fake())
    data = mn.examples([{"q": f"item {i}", "a": f"answer {i}"} for i in range(40)], inputs=["q"])
    train, val, test = mn.split(data, 0.2, 0.4, 0.4, seed=0)
    history = mn.History()
    mn.MIPROv2(metric).compile(mn.Predict(Route), trainset=train, valset=val, testset=test, listeners=[history])
    assert history.verdict is not None
    assert history.verdict.examples == 16
    assert history.reason == "finished"


def test_the_best_program_is_the_one_with_the_best_full_score():
    best, history = run()
    assert history.best.score > history.baseline.score
    text = [p.text for p in history.instructions][history.best.instructions[0]]
    assert best.signature.instructions == text
    believed = history.posterior
    assert (believed.instructions, believed.demos) == (history.best.instructions, history.best.demos)
    assert believed.gain["mean"] > 0


def test_a_full_evaluation_that_lost_most_examples_cannot_win():
    history = mn.History([ev.TrialStarted(0, "baseline", (0,), (0,), 10, 10)])
    for example in range(10):
        history(ev.ExampleScored(0, example, 1.0 if example else 0.0))
    history(ev.TrialFinished(0, 0.9, 10, 0))
    for event in (
        ev.TrialStarted(1, "full", (1,), (0,), 10, 10),
        ev.ExampleScored(1, 5, 1.0),
        ev.TrialFinished(1, 1.0, 1, 9),
    ):
        history(event)
    assert history.best.number == 0


def test_trials_with_missing_examples_are_compared_on_those_they_share():
    history = mn.History()
    for trial, kind, hits in ((0, "baseline", range(10)), (1, "full", range(1, 10))):
        history(ev.TrialStarted(trial, kind, (trial,), (), 10, 10))
        for example in hits:
            history(ev.ExampleScored(trial, example, 1.0 if example else 0.0))
    history(ev.TrialFinished(0, 0.9, 10, 0))
    history(ev.TrialFinished(1, 1.0, 9, 1))
    assert history.best.number == 0


def test_the_winner_must_be_strictly_better():
    best, history = run(lm=fake(replies=lambda m: reply(m) if is_proposal(m) or is_description(m) else "a: same"))
    assert history.best.kind == "baseline"
    assert best.signature.instructions == mn.Signature("q -> a").instructions
    assert best.demos == []


@pytest.mark.parametrize("threads", [1, 16])
def test_the_same_seed_gives_the_same_trials_with_any_number_of_threads(threads):
    _, one = run(optimizer=mn.MIPROv2(metric, num_threads=1, seed=0))
    _, many = run(optimizer=mn.MIPROv2(metric, num_threads=threads, seed=0))
    assert trials(one) == trials(many)
    assert [p.text for p in one.instructions] == [p.text for p in many.instructions]
    assert [d.demos for d in one.demo_sets] == [d.demos for d in many.demo_sets]


@pytest.mark.slow
def test_seed_0_is_a_seed():
    optimizer = mn.MIPROv2(metric, seed=9)
    assert trials(run(optimizer=optimizer, seed=0)[1]) != trials(run(optimizer=optimizer)[1])
    assert trials(run(optimizer=optimizer, seed=0)[1]) == trials(run(optimizer=mn.MIPROv2(metric, seed=0))[1])


@pytest.mark.parametrize("raises", [False, True])
def test_student_teacher_and_data_stay_as_they_were(raises):
    student, teacher = mn.Predict("q -> a"), mn.Predict("q -> a", "Teach.")
    student.demos = [mn.Example(q="x", a="y")]
    train, val = rows(20), rows(20, 20)
    before = [json.dumps(p.to_json()) for p in (student, teacher)], copy.deepcopy((train, val))

    def broken(example, prediction, trace=None):
        if raises and trace is None:
            raise ZeroDivisionError
        return example.a == prediction.a

    with mn.context(lm=fake()):
        compiled = False
        try:
            mn.MIPROv2(broken, teacher=teacher).compile(student, trainset=train, valset=val)
            compiled = True
        except MetricError:
            pass
    assert compiled is not raises
    assert ([json.dumps(p.to_json()) for p in (student, teacher)], (train, val)) == before


@pytest.mark.slow
def test_no_combination_meets_the_same_example_twice():
    recorder, lm = EventRecorder(), fake()
    with mn.context(lm=lm):
        mn.MIPROv2(metric).compile(mn.Predict("q -> a"), trainset=rows(10), valset=rows(80, 100), listeners=[recorder])
    chosen = {e.trial: (e.instructions, e.demos) for e in recorder.of(ev.TrialStarted)}
    met = [(chosen[e.trial], e.example) for e in recorder.of(ev.ExampleScored)]
    assert len(met) == len(set(met))


@pytest.mark.slow
def test_minibatch_false_is_respected():
    _, history = run(optimizer=mn.MIPROv2(metric, search="mipro"), valset=rows(60, 100), minibatch=False)
    assert {t.kind for t in history.trials} == {"baseline", "full"}
    assert {t.examples for t in history.trials} == {60}


@pytest.mark.slow
def test_minibatches_are_followed_by_full_evaluations():
    _, history = run(optimizer=mn.MIPROv2(metric, search="mipro"), valset=rows(60, 100))
    kinds = [t.kind for t in history.trials]
    assert kinds == ["baseline", *["minibatch"] * 5, "full", *["minibatch"] * 5, "full"]
    assert {t.examples for t in history.trials if t.kind == "minibatch"} == {35}


def test_two_predictors_are_optimized_together():
    best, history = run(TwoSteps(), lm=fake(replies=two_step_reply))
    assert [name for name, _ in best.named_predictors()] == ["hint", "answer"]
    assert {len(t.instructions) for t in history.trials} == {2}
    bootstrapped = [d for d in history.demo_sets if d.predictor == "hint" and d.bootstrapped]
    assert bootstrapped
    assert set(bootstrapped[0].demos[0]) == {"q", "hint"}


def test_a_teacher_lm_bootstraps_the_demos():
    teacher = fake(replies=lambda m: f"a: answer {m[-1]['content'].split()[-1]}", model="fake/teacher")
    student = fake(replies=lambda m: reply(m) if is_proposal(m) or is_description(m) else "a: no idea")
    _, history = run(lm=student, teacher=teacher)
    assert teacher.calls > 0
    assert any(d.bootstrapped for d in history.demo_sets)


def test_prompt_and_task_model_do_their_own_work():
    prompts = fake(model="fake/prompts")
    tasks = fake(
        replies=lambda m: reply(m) if not (is_proposal(m) or is_description(m)) else "wrong LM", model="fake/tasks"
    )
    run(optimizer=mn.MIPROv2(metric, prompt_model=prompts, task_model=tasks), lm=fake(replies=["unused"] * 0))
    assert all(is_proposal(p) or is_description(p) for p in prompts.prompts)
    assert not any(is_proposal(p) or is_description(p) for p in tasks.prompts)
    assert prompts.sampling[0]["temperature"] == 1.0


def test_the_prompt_model_is_the_configured_one_unless_given():
    configured, tasks = fake(model="fake/configured"), fake(model="fake/tasks")
    run(optimizer=mn.MIPROv2(metric, task_model=tasks), lm=configured)
    assert configured.calls > 0
    assert all(is_proposal(p) or is_description(p) for p in configured.prompts)


def test_a_task_model_alone_does_both():
    tasks = fake(model="fake/tasks")
    mn.MIPROv2(metric, task_model=tasks).compile(mn.Predict("q -> a"), trainset=rows(10))
    assert any(is_proposal(p) for p in tasks.prompts)


@pytest.mark.slow
def test_a_history_that_hears_a_second_run_begins_anew():
    history = mn.History()
    for seed in (1, 2):
        with mn.context(lm=fake()):
            mn.MIPROv2(metric, seed=seed).compile(mn.Predict("q -> a"), trainset=rows(30), listeners=[history])
    alone = run(optimizer=mn.MIPROv2(metric, seed=2))[1]
    assert trials(history) == trials(alone)
    assert history.usage == alone.usage


def test_equal_demo_sets_are_one_combination():
    data = mn.examples([{"q": f"item {i}", "label": f"answer {i}"} for i in range(20)], inputs=["q"])
    lm = fake(replies=lambda m: reply(m) if is_proposal(m) or is_description(m) else "a: never right")
    _, history = run(lm=lm, train=data, given_metric=lambda e, p, trace=None: e.label == p.a)
    assert {made.demos for made in history.demo_sets} == {()}
    tried = [(t.instructions, t.demos) for t in history.trials]
    assert {demos for _, demos in tried} == {(0,)}
    assert len(set(tried)) == len(tried) == len(history.instructions)


def test_data_without_labels_suit_a_metric_that_needs_none():
    data = mn.examples([{"q": f"item {i}"} for i in range(20)], inputs=["q"])
    _, history = run(train=data, given_metric=lambda example, prediction, trace=None: len(prediction.a) > 3)
    assert history.reason == "finished"
    assert any("no label" in note.message for note in history.notes)


def test_calls_that_cannot_be_seen_are_said():
    from concurrent.futures import ThreadPoolExecutor

    class Threads(mn.Module):
        def __init__(self):
            self.step = mn.Predict("q -> a")

        def forward(self, q):
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(self.step, q=q).result()

    mn.configure(lm=fake())
    history = mn.History()
    mn.MIPROv2(metric).compile(Threads(), trainset=rows(10), listeners=[history])
    assert any("copy_context" in note.message for note in history.notes)


def test_a_container_that_refuses_deepcopy_does_not_share_its_predictors():
    import threading
    from collections import OrderedDict

    class Odd(mn.Module):
        def __init__(self):
            self.parts = OrderedDict(step=mn.Predict("q -> a"), lock=threading.Lock())

        def forward(self, q):
            return self.parts["step"](q=q)

    student = Odd()
    best, history = run(student)
    assert student.predictors[0].demos == []
    assert best.parts["lock"] is student.parts["lock"]
    assert history.best.score > history.baseline.score


def test_a_program_that_fails_on_every_example_ends_after_the_baseline():
    class Broken(mn.Module):
        def __init__(self):
            self.step = mn.Predict("q -> a")

        def forward(self, q):
            return self.step(q=q).no_such_field

    lm = fake()
    with pytest.raises(TooManyErrors, match="no_such_field"):
        run(Broken(), lm=lm, train=rows(30))
    assert lm.calls < 150


def test_a_run_directory_on_a_full_disk_loses_nothing(tmp_path):
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    (tmp_path / "program.json.part").mkdir()
    with pytest.warns(UserWarning, match="could not be saved"), pytest.warns(UserWarning, match="No space left"):
        best, history = run(run_dir=tmp_path)
    assert history.reason == "finished"
    assert best.signature.instructions == history.instructions[history.best.instructions[0]].text


# --- degenerate inputs: they run, or one clear error says why not


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"max_bootstrapped_demos": 0},
        {"max_labeled_demos": 0},
        {"max_bootstrapped_demos": 0, "max_labeled_demos": 0},
        {"valset": rows(1, 50)},
        {"minibatch_size": 1000},
        {"train": rows(2)},
        {"train": rows(3)},
        {"train": rows(1), "valset": rows(2, 9)},
    ],
    ids=["labeled-only", "bootstrapped-only", "zero-shot", "valset of 1", "huge minibatch", "2", "3", "1 + valset"],
)
def test_degenerate_settings_run(options):
    _, history = run(**options)
    assert history.reason == "finished"
    assert history.baseline is not None


@pytest.mark.parametrize("candidates", [1, 2])
def test_few_candidates_end_early_without_repeating(candidates):
    _, history = run(optimizer=mn.MIPROv2(metric, num_candidates=candidates), num_trials=50)
    combinations = [(t.instructions, t.demos) for t in history.trials]
    assert history.reason == "finished"
    assert len(set(combinations)) <= candidates**2
    assert history.usage.calls < 30 * (candidates**2 + 1) + 60


@pytest.mark.slow
def test_sorted_labels_are_split_by_label():
    data = mn.examples([{"q": f"item {i}", "a": "yes" if i < 50 else "no"} for i in range(100)], inputs=["q"])
    recorder = EventRecorder()
    with mn.context(lm=fake()):
        plan = mn.MIPROv2(metric).plan(mn.Predict("q -> a"), trainset=data)
        mn.MIPROv2(metric).compile(mn.Predict("q -> a"), trainset=data, listeners=[recorder])
    assert plan.sizes["training"] == 20
    labels = {demo["a"] for made in recorder.of(ev.DemosBootstrapped) for demo in made.demos}
    assert labels == {"yes", "no"}
    assert not [note for note in recorder.of(ev.Noted) if "one value" in note.message]


@pytest.mark.slow
def test_a_student_with_demos_keeps_them_as_a_set_of_its_own():
    own = [mn.Example(q="item 1", a="answer 1")]
    _, history = run(mn.Predict("q -> a", demos=own), valset=rows(60, 100))
    assert [made.index for made in history.demo_sets] == list(range(len(history.demo_sets)))
    (last,) = (made for made in history.demo_sets if made.origin == "student")
    assert last.index == 6
    assert dict(last.demos[0]) == {"q": "item 1", "a": "answer 1"}
    assert history.baseline.demos == (6,)


def test_a_zero_shot_run_keeps_the_demos_that_the_student_came_with():
    own = [mn.Example(q="item 1", a="answer 1")]
    best, history = run(mn.Predict("q -> a", demos=own), max_bootstrapped_demos=0, max_labeled_demos=0)
    assert {trial.demos for trial in history.trials} == {()}
    assert best.demos == own


@pytest.mark.parametrize(
    ("returned", "words"),
    [(None, "None"), (math.nan, "nan"), ("good", "str"), (7, "7"), (-0.5, "-0.5"), ([1], "list")],
)
def test_a_metric_that_returns_no_score_is_named_with_the_example(returned, words):
    def odd(example, prediction, trace=None):
        return returned

    with pytest.raises(MetricError, match=words) as caught:
        run(given_metric=odd)
    assert "odd" in str(caught.value)
    assert "item" in str(caught.value)


def test_a_metric_that_raises_is_named_with_the_example():
    def buggy(example, prediction):
        return example.nothing == prediction.a

    with pytest.raises(MetricError, match=r"buggy raised AttributeError.*item"):
        run(given_metric=buggy)


@pytest.mark.slow
def test_a_score_of_0_with_feedback_is_a_failure():
    def picky(example, prediction, trace=None):
        return mn.Score(0.0, feedback="never good enough")

    _, history = run(given_metric=picky)
    assert not any(attempt.kept for attempt in history.bootstrap_attempts)
    assert {t.score for t in history.trials} == {0.0}


def test_a_numeric_metric_keeps_the_best_traces_and_says_so():
    def partial(example, prediction, trace=None):
        return 0.9 if example.a == prediction.a else 0.2

    _, history = run(given_metric=partial)
    assert any("metric_threshold" in note.message for note in history.notes)
    kept = [attempt.score for attempt in history.bootstrap_attempts if attempt.kept]
    assert kept.count(0.9) > kept.count(0.2)


def test_fields_named_like_methods_work():
    data = mn.examples([{"keys": f"item {i}", "items": f"answer {i}"} for i in range(20)], inputs=["keys"])
    lm = fake(replies=lambda m: reply(m).replace("a: ", "items: "))
    best, history = run(
        mn.Predict("keys -> items"), lm=lm, train=data, given_metric=lambda e, p: e["items"] == p["items"]
    )
    assert history.best.score > 0
    assert set(best.demos[0]) == {"keys", "items"}


def test_an_output_that_never_parses_scores_0_with_its_error():
    _, history = run(
        mn.Predict("q -> a: int"),
        lm=fake(replies=lambda m: reply(m) if is_proposal(m) else "no number"),
        valset=rows(4, 50),
    )
    assert history.best.score == 0.0
    errors = [scored.error for scored in history.baseline.scored.values()]
    assert all("ParseError" in error and "no number" in error for error in errors)


def test_an_lm_that_returns_nothing_ends_well():
    best, history = run(lm=fake(replies=lambda m: ""))
    assert history.reason == "finished"
    assert best.signature.instructions == mn.Signature("q -> a").instructions
    assert any("no instruction" in note.message for note in history.notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "garbage",
    ["", "x", "I'm sorry, I can't.", "@#$%^&*", "word " * 10_000, "{", "<script>alert(1)</script>", "a: b: c:"],
)
def test_a_prompt_model_that_answers_with_garbage_does_not_end_the_run(garbage):
    prompts = fake(replies=lambda m: garbage, model="fake/garbage")
    _, history = run(optimizer=mn.MIPROv2(metric, prompt_model=prompts))
    assert history.reason == "finished"
    assert history.best.score >= history.baseline.score


def test_a_program_without_predictor_is_refused():
    with pytest.raises(ConfigError, match="no predictor"):
        run(mn.Module())


def test_something_that_is_no_program_is_refused():
    with pytest.raises(ConfigError, match="student="):
        run("q -> a")


@pytest.mark.slow
def test_the_same_predictor_twice_is_one():
    class Twice(mn.Module):
        def __init__(self):
            self.first = mn.Predict("q -> a")
            self.second = self.first

        def forward(self, q):
            self.first(q=q)
            return self.second(q=q)

    best, history = run(Twice())
    assert len(best.predictors) == 1
    assert best.first is best.second
    assert history.reason == "finished"


def test_unicode_and_fields_of_100000_characters_run():
    data = mn.examples([{"q": f"製品 {'ü' * 100_000} {i}", "a": f"answer {i}"} for i in range(6)], inputs=["q"])
    _, history = run(train=data, num_trials=2, optimizer=mn.MIPROv2(metric, num_candidates=2))
    assert history.reason == "finished"
    assert any("sample" in note.message for note in history.notes)


# --- wrong arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"auto": "lite"}, "'light'"),
        ({"search": "tpe"}, "accepted: 'paired', 'thompson', 'mipro'"),
        ({"max_labeled_demos": -1}, "max_labeled_demos=-1"),
        ({"num_candidates": 0}, "num_candidates=0"),
        ({"num_candidates": 2.5}, "num_candidates=2.5"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**32}, "seed=4294967296"),
        ({"init_temperature": 5}, "init_temperature=5"),
        ({"metric_threshold": 2}, "metric_threshold=2"),
        ({"num_threads": 0}, "num_threads=0"),
        ({"prompt_model": "gpt"}, "prompt_model='gpt'"),
    ],
)
def test_a_wrong_setting_is_named(arguments, words):
    with pytest.raises(ConfigError, match=words):
        mn.MIPROv2(metric, **arguments)


def test_a_metric_that_is_no_function_is_refused():
    with pytest.raises(ConfigError, match="metric='exact'"):
        mn.MIPROv2("exact")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"trainsett": []}, ConfigError, "Did you mean 'trainset'"),
        ({}, ConfigError, "trainset= is needed"),
        ({"trainset": []}, DataError, "trainset is empty"),
        ({"trainset": rows(1)}, DataError, "1 example"),
        ({"trainset": [{"q": 1}]}, DataError, "mipro_nb.examples"),
        ({"trainset": [mn.Example(z="1").with_inputs("z")]}, DataError, "lacks the program's input 'q'"),
        ({"trainset": rows(9), "valset": []}, DataError, "valset is empty"),
        ({"trainset": rows(9), "minibatch_size": 0}, ConfigError, "minibatch_size=0"),
        ({"trainset": rows(9), "num_trials": 0}, ConfigError, "num_trials=0"),
        ({"trainset": rows(9), "minibatch": "no"}, ConfigError, "minibatch='no'"),
        ({"trainset": rows(9), "stop": "later"}, ConfigError, "stop='later'"),
        ({"trainset": rows(9), "listeners": 3}, ConfigError, "listeners=3"),
        ({"trainset": rows(9), "teacher": "me"}, ConfigError, "teacher='me'"),
        ({"trainset": rows(9), "teacher": TwoSteps()}, ConfigError, "teacher has the predictors"),
    ],
)
def test_a_wrong_argument_of_compile_is_named_before_anything_is_spent(options, error, words):
    lm = fake()
    mn.configure(lm=lm)
    with pytest.raises(error, match=words):
        mn.MIPROv2(metric).compile(mn.Predict("q -> a"), **options)
    assert lm.calls == 0


def test_auto_beside_its_own_numbers_says_which_to_drop():
    with pytest.raises(ConfigError, match="drop num_trials, or drop auto"):
        run(optimizer=mn.MIPROv2(metric, auto="light"), num_trials=5)


def test_no_lm_configured_says_what_to_do():
    with pytest.raises(ConfigError, match=r"mipro_nb\.configure"):
        mn.MIPROv2(metric).compile(mn.Predict("q -> a"), trainset=rows(9))


def test_predictors_with_lms_of_their_own_need_no_other():
    lm, history = fake(), mn.History()
    mn.MIPROv2(metric).compile(mn.Predict("q -> a", lm=lm), trainset=rows(9), listeners=[history])
    assert history.reason == "finished"
    assert any(is_proposal(prompt) for prompt in lm.prompts)


def test_get_params_returns_the_settings():
    params = mn.MIPROv2(metric, seed=0, auto="heavy").get_params()
    assert (params["seed"], params["auto"], params["metric"]) == (0, "heavy", metric)


def test_help_shows_every_keyword_of_compile():
    import inspect

    names = list(inspect.signature(mn.MIPROv2.compile).parameters)
    assert names[:3] == ["self", "student", "trainset"]
    assert {"valset", "testset", "minibatch_full_eval_steps", "run_dir", "stop"} <= set(names)


# --- permission, stop, interrupt


@pytest.mark.parametrize(("answer", "calls"), [("n", False), ("y", True), ("", False)])
def test_permission_is_asked_before_the_first_call(answer, calls, monkeypatch, capsys):
    lm = fake()
    monkeypatch.setattr("builtins.input", lambda prompt: answer)
    run(lm=lm, requires_permission_to_run=True)
    assert (lm.calls > 0) is calls
    assert "evaluations; per predictor" in capsys.readouterr().out


def test_stop_keeps_the_best_so_far():
    best, history = run(valset=rows(20, 50), stop=lambda h: "enough" if len(finished(h)) > 4 else None)
    assert history.reason == "stopped: enough"
    assert history.best.score > 0
    assert len(best.demos) <= 4


@pytest.mark.slow
def test_a_stop_that_raises_ends_the_run_with_the_best_so_far():
    assert run(stop=lambda h: False)[1].reason == "finished"
    _, history = run(stop=lambda h: 1 / 0 if len(finished(h)) > 3 else None)
    assert "stop raised ZeroDivisionError" in history.reason
    assert history.best is not None


@pytest.mark.slow
def test_an_outage_from_the_first_call_on_is_an_error_and_not_a_result():
    def down(messages):
        raise LMUnavailable("the server is down")

    with pytest.raises(TooManyErrors, match="the server is down"):
        run(lm=fake(replies=down, num_retries=0), train=rows(4), max_bootstrapped_demos=0)


@pytest.mark.slow
def test_an_outage_after_the_baseline_that_lasts_too_long_returns_the_best_so_far():
    history = mn.History()

    def replies(messages):
        if len([t for t in history.trials if t.finished]) > 3:
            raise LMUnavailable("the server is down")
        return reply(messages)

    best, _ = run(lm=fake(replies=replies), max_outage=0.2, listeners=[history])
    assert history.reason == "stopped: the LM has not answered for 0.2 s"
    assert best.signature.instructions == history.instructions[history.best.instructions[0]].text


def test_a_service_of_the_program_that_is_down_returns_the_best_so_far_with_a_warning():
    history = mn.History()

    class Looking(mn.Module):
        def __init__(self):
            self.answer = mn.Predict("q -> a")

        def forward(self, q):
            if len([t for t in history.trials if t.finished]) > 3:
                raise ConnectionError("the database is down")
            return self.answer(q=q)

    with mn.context(lm=fake()), pytest.warns(UserWarning, match="database is down"):
        best = mn.MIPROv2(metric).compile(Looking(), trainset=rows(30), listeners=[history])
    assert history.reason.startswith("failed: ")
    text = best.predictors[0].signature.instructions
    assert text == history.instructions[history.best.instructions[0]].text


def test_missing_weights_end_the_run_at_the_first_call(tmp_path):
    lm = mn.LM(f"local/{tmp_path}/none.gguf", cache=False)
    recorder = EventRecorder()
    with pytest.raises(WeightsError, match=r"none\.gguf doesn't exist"):
        mn.MIPROv2(metric, task_model=lm, num_threads=1).compile(
            mn.Predict("q -> a"), trainset=rows(40), listeners=[recorder]
        )
    assert not recorder.of(ev.ExampleScored)


@pytest.mark.parametrize("stage", ["bootstrap", "propose", "search", "verdict"])
def test_a_keyboard_interrupt_in_any_stage_keeps_the_best_so_far(stage):
    class Interrupt(mn.History):
        pressed = False

        def __call__(self, event):
            super().__call__(event)
            if isinstance(event, ev.LMUsed) and event.stage == stage and not self.pressed:
                self.pressed = True
                raise KeyboardInterrupt

    history = Interrupt()
    with mn.context(lm=fake()):
        best = mn.MIPROv2(metric).compile(
            mn.Predict("q -> a"), trainset=rows(30), testset=rows(5, 90), listeners=[history]
        )
    assert history.reason == "interrupted"
    assert isinstance(best, mn.Predict)
    if stage == "verdict":
        assert best.signature.instructions == history.instructions[history.best.instructions[0]].text


@pytest.mark.slow
def test_a_run_directory_holds_events_and_program(tmp_path):
    best, history = run(run_dir=tmp_path / "run")
    read = mn.History.read(tmp_path / "run" / "events.jsonl")
    assert trials(read) == trials(history)
    assert mn.load(tmp_path / "run" / "program").signature == best.signature


@pytest.mark.slow
def test_a_canary_key_is_in_nothing_that_a_run_wrote(tmp_path, monkeypatch, capsys):
    canary = "sk-canary-0123456789abcdef"
    monkeypatch.setenv("OPENAI_API_KEY", canary)
    lm = fake(api_key=canary)
    mn.configure(progress=True)
    best, history = run(lm=lm, run_dir=tmp_path, testset=rows(5, 90))
    best.save(tmp_path / "saved")
    history.write(tmp_path / "again.jsonl")
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    shown = [repr(lm), repr(best), repr(history.events), str(capsys.readouterr())]
    shown += [frame.to_string() for frame in (history.trials_frame(), history.candidates_frame())]
    assert len(written) == 9
    assert not [text for text in written + shown if canary in text]

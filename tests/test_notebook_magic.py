import gc
import inspect
import threading
import time
import weakref
from types import SimpleNamespace

import pandas as pd
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from programs import TwoSteps, fake, reply, two_step_reply
from traitlets.config import Config

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.notebook.oneline import MagicError
from mipro_nb.notebook.view import RunView
from mipro_nb.run import Run
from mipro_nb.settings import settings

CLASS = """\
class Route(Signature):
    '''Answer the question.'''
    q: str = InputField()
    a: str = OutputField()
"""
METRIC = """
def metric(example, prediction):
    return example.a == prediction.a
"""
QUICK = "--demos 2 --trials 2 --candidates 3"


@pytest.fixture
def bare(monkeypatch):
    """A shell of IPython's own, without the extension, that nobody else sees."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.run_line_magic("colors", "nocolor")
    shell.user_ns["rows"] = [{"q": f"item {i}", "a": f"answer {i}"} for i in range(40)]
    mn.configure(lm=fake())
    shell.displayed = []  # really displayed, a view would go on writing when this shell is gone
    monkeypatch.setattr("mipro_nb.notebook.magic.display", shell.displayed.append)
    yield shell
    shell.restore_sys_module_state()
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(bare):
    bare.extension_manager.load_extension("mipro_nb")
    return bare


@pytest.fixture
def gate(shell):
    """The configured LM waits until ``open`` is set, and once ``hold`` returns true until ``later`` is set."""
    state = SimpleNamespace(open=threading.Event(), later=threading.Event(), hold=lambda: False)

    def gated(messages):
        assert state.open.wait(60)
        if state.hold():
            assert state.later.wait(60)
        return reply(messages)

    mn.configure(lm=fake(replies=gated))
    yield state
    state.open.set()
    state.later.set()
    for run in [value for value in shell.user_ns.values() if isinstance(value, Run)]:
        run.stop()
        run.unpause()
        assert run.wait(60)


def ran(shell, text):
    result = shell.run_cell(text)
    result.raise_error()
    assert result.result is None
    return shell.user_ns


def made_of(program):
    return program.signature, program.demos


def refused(shell, text):
    """Run a cell that must fail with one line; return the line."""
    error = shell.run_cell(text).error_in_exec
    assert isinstance(error, MagicError)
    assert error._render_traceback_() == [f"MagicError: {error}"]
    assert "\n" not in str(error)
    return str(error)


def test_a_cell_starts_a_run_and_names_its_results(shell, capsys):
    names = ran(shell, f"%%mipro rows {QUICK} --into router --wait\n{CLASS}{METRIC}")
    assert names["router_run"].status == "finished"
    assert made_of(names["router"]) == made_of(names["router_run"].result())
    (view,) = shell.displayed
    assert isinstance(view, RunView)
    assert view.run is names["router_run"]
    assert names["router_run"].history.verdict.examples == 16
    assert "rows: 8 training, 16 validation, 16 test examples. Metric: metric." in capsys.readouterr().out


def test_the_cell_returns_while_the_run_goes_on(shell, gate):
    names = ran(shell, f"%%mipro rows {QUICK}\n{CLASS}")
    assert names["best_run"].status == "running"
    gate.open.set()
    assert names["best_run"].result(60).predictors


def test_the_short_form_stands_for_the_class(shell, capsys):
    names = ran(shell, f'%%mipro rows {QUICK} --wait\n"Answer it."\nq -> a\n')
    assert names["best_run"].job.student.signature == mn.Signature("q -> a", "Answer it.")
    assert "Metric: exact match." in capsys.readouterr().out


def test_the_short_form_sees_the_types_of_the_notebook(shell):
    ran(shell, "import pydantic\nclass Answer(pydantic.BaseModel):\n    text: str")
    ran(shell, "%%mipro rows --plan\nq -> a: Answer, kind: Literal['x', 'y']\n")


def test_data_may_be_a_table_or_a_path_with_spaces_or_sets_apart(shell, tmp_path, capsys):
    table = pd.DataFrame(shell.user_ns["rows"]).assign(**{"n": 1})
    table[0] = 2.5  # a column whose name is no text
    path = tmp_path / "my tickets.csv"
    table.to_csv(path, index=False)
    shell.user_ns.update(table=table, path=path, written=str(path))
    for data in ("table", "path", "written", f"'{path}'", f'"{path}"'):
        ran(shell, f"%%mipro {data} --plan\nq -> a")
        assert "8 training, 16 validation, 16 test" in capsys.readouterr().out
    ran(shell, "train, test = rows[:30], rows[30:]")
    ran(shell, "%%mipro --trainset train --testset test --plan\nq -> a")
    assert "6 training, 24 validation, 10 test" in capsys.readouterr().out


def test_the_split_shares_out_the_classes_and_stays_the_same(shell, gate):
    shell.user_ns["rows"] = [{"q": str(i), "a": "yes" if i % 4 else "no"} for i in range(40)]
    runs = [ran(shell, f"%%mipro rows {QUICK} --seed {seed} --into n{seed}\nq -> a")[f"n{seed}_run"] for seed in (1, 2)]
    assert runs[0].job.testset == runs[1].job.testset
    assert sum(example.a == "no" for example in runs[0].job.testset) == 4


def test_the_plan_spends_nothing_and_binds_nothing(shell, capsys):
    names = ran(shell, f"%%mipro rows --plan --auto medium\n{CLASS}")
    assert "best" not in names
    assert settings().lm.calls == 0
    assert "together" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["%%mipro --help", "%mipro --help", "%mipro help", "%%mipro rows --help\n1/0"])
def test_help_runs_nothing(shell, text, capsys):
    ran(shell, text)
    assert "--max-cost USD" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%%mipro rows --auto lite\nq -> a", "Did you mean 'light'?"),
        ("%%mipro rowz\nq -> a", "rowz: nothing in the notebook has this name. Did you mean 'rows'?"),
        ("%%mipro --trainset rows --testset rowz\nq -> a", "--testset rowz: nothing in the notebook has this name."),
        ("%%mipro 'no such.csv'\nq -> a", "no such.csv: the file 'no such.csv' doesn't exist."),
        ("%%mipro number\nq -> a", "number of type int: a DataFrame, a list of dicts or Examples, or the path"),
        ("%%mipro texts\nq -> a", "texts, row 0: a dict or Example is needed, str given."),
        ("%%mipro rows", "the cell defines no program"),
        ("%%mipro rows\n\n# nothing\n", "the cell defines no program"),
        ("%%mipro rows\nquestion -> a", "rows: input 'question' is no column in row 0; columns: ['q', 'a']."),
        ("%%mipro rows\nq -> team", "rows has no column 'team' to compare the output with; columns: ['a', 'q']."),
        ("%%mipro few\nq -> a", "few: 1 example is too few"),
        ("%%mipro rows\nq -> a\nq -> b", "(line 2, line 3): keep one."),
        (
            f"%%mipro rows\n{CLASS}\nOther = Signature('q -> a')",
            "(Route in line 2, Other in line 7): name one with --program",
        ),
        ("%%mipro rows --program p\nq -> a", "line 2 is a signature, and --program is given too"),
        ("%%mipro rows --program q\n", "--program q: nothing in the notebook has this name."),
        ("%%mipro rows --program number\n", "--program number: a program or a Signature is needed, int given."),
        ("%%mipro rows\nclass P(Module):\n    def __init__(self, x): pass", "P in line 2: P() raised TypeError"),
        ("%%mipro rows\nq -> a: Frog", "line 2: type 'Frog' is not known"),
        (
            "%%mipro rows\n\nq -> a\ndef metric(example):\n    return 1",
            "line 4: metric(example) can't be called with an example",
        ),
        ("%%mipro rows\nq -> a\nmetric = 0.5", "line 3: metric is float; a function of (example, prediction)"),
        ("%%mipro rows --metric metrik\nq -> a", "--metric metrik: nothing in the notebook has this name."),
        (
            "%%mipro rows --into number\nq -> a",
            "number is in use in this notebook (int): choose another name with --into",
        ),
        ("%%mipro rows\nq -> a\nawait f()", "line 3: await can't stand in a %%mipro cell"),
        ("%%mipro rows --lm gpt-5-mini\nq -> a", "--lm: a model is named as provider/model"),
        ("%%mipro rows --max-cost 1 --lm fake\nq -> a", "the price of 'fake/lm' is unknown; drop --max-cost."),
        (
            "%%mipro rows --max-tokens 9000 --lm free\nq -> a",
            "--max-tokens=9000: the longest answer of 'fake/lm' is unknown; set it, as in mipro_nb.LM('fake/lm', "
            "max_tokens=1000).",
        ),
        (
            "%mipro stpo",
            "%mipro stpo is not known; accepted: list, status, diff, stop, pause, unpause, help. Did you mean 'stop'?",
        ),
        ("%mipro stop nobody", "no run is called 'nobody'; runs: none."),
        ("%mipro stop a b", "takes one NAME"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_nothing_is_spent(shell, cell, said):
    shell.user_ns.update(number=3, texts=["a"], few=[{"q": "1", "a": "2"}], fake=fake(price=None), free=fake())
    assert said in refused(shell, cell)
    assert settings().lm.calls == 0
    assert "best" not in shell.user_ns


def test_without_an_lm_the_way_to_one_is_told(shell):
    mn.configure(lm=None)
    assert "type %mipro_lm local/smollm2-135m, or give --lm." in refused(shell, "%%mipro rows\nq -> a")


@pytest.mark.parametrize(("code", "line", "kind"), [("1/0", 7, "ZeroDivisionError"), ("x = = 1", 7, "SyntaxError")])
def test_an_error_in_the_cells_code_is_shown_with_its_line_and_ends_the_cell(shell, capsys, code, line, kind):
    said = refused(shell, f"%%mipro rows\n{CLASS}\n{code}\n")
    assert said == f"the cell's code failed ({kind}, shown above); nothing was optimized."
    shown = capsys.readouterr().out
    assert f"line {line}" in shown
    assert kind in shown
    assert "best" not in shell.user_ns


@pytest.mark.slow
def test_the_source_of_the_metric_can_be_read(shell):
    names = ran(shell, f"%%mipro rows --plan\n{CLASS}{METRIC}")
    assert inspect.getsource(names["metric"]) == METRIC.lstrip()


def test_lent_names_are_taken_back_but_for_those_that_functions_need(shell):
    metric = "def metric(e, p):\n    return Score(float(e.a == p.a), feedback='why')\n"
    names = ran(shell, f"%%mipro rows {QUICK} --wait\n{CLASS}\n{metric}")
    assert names["best_run"].status == "finished"
    assert names["Score"] is mn.Score
    assert not {"Signature", "InputField", "OutputField", "Predict", "Literal"} & set(names)


def test_the_users_own_names_are_never_touched(shell):
    names = ran(shell, "Score = Literal = 'mine'\nfrom mipro_nb import Signature")
    ran(
        shell,
        f"%%mipro rows --plan\nimport mipro_nb as mn\nfrom mipro_nb import InputField\n{CLASS}\nused = Score + Literal",
    )
    assert (names["used"], names["Score"]) == ("minemine", "mine")
    assert names["Signature"] is mn.Signature
    assert names["InputField"] is mn.InputField  # the cell imported it
    assert "OutputField" not in names


def test_a_name_that_is_someone_elses_is_told(shell):
    ran(shell, "from inspect import Signature")
    assert "Signature is not mipro_nb's in this notebook" in refused(
        shell, "%%mipro rows\nclass R(Signature):\n    q: str"
    )


def test_a_program_of_the_notebook_needs_no_cell(shell):
    ran(shell, f"import mipro_nb as mn\np = mn.Predict('q -> a')\n%mipro rows {QUICK} --program p --into p --wait")
    names = ran(shell, f"%%mipro rows {QUICK} --program p --into p --wait")
    assert names["p_run"].job.student.predictors[0].demos  # it went on from the first result


@pytest.mark.slow
def test_a_module_in_the_cell_is_the_program(shell):
    mn.configure(lm=fake(replies=two_step_reply))
    shell.user_ns["TwoSteps"] = TwoSteps
    first, second = "Hint = Signature('q -> hint')\n", "class Mine(TwoSteps):\n    pass\n"
    for body in (f"{first}{second}", f"{first}mine = TwoSteps()"):
        names = ran(shell, f"%%mipro rows {QUICK} --wait\n{body}")
        assert names["best_run"].status == "finished"
        assert len(names["best"].predictors) == 2


def test_the_best_program_goes_on_with_the_lm_that_was_asked_for(shell):
    own = fake()
    mn.configure(lm=None)
    shell.user_ns.update(own=own, p=mn.Predict("q -> a"))
    names = ran(shell, f"%mipro rows --program p --lm own {QUICK} --wait")
    assert names["best"].predictors[0].lm is own
    assert names["best"](q="item 3").a
    assert names["p"].lm is None


def test_the_name_is_current_at_any_time(shell, gate):
    names = ran(shell, f"%%mipro rows {QUICK}\nq -> a")
    run = names["best_run"]
    improved = threading.Event()

    def hold():
        better = run.history.best is not None and run.history.best is not run.history.baseline
        if better:
            improved.set()
        return better

    gate.hold = hold
    gate.open.set()
    assert improved.wait(60)
    assert made_of(names["best"]) == made_of(run.program) != made_of(run.job.student)  # within a cell that goes on
    ran(shell, "now = best")
    assert names["best"] is names["now"]  # not replaced without need
    gate.later.set()
    run.result(60)
    ran(shell, "pass")
    assert made_of(names["best"]) == made_of(run.result())


def test_at_the_end_the_name_is_current_within_the_same_cell(shell, gate):
    ran(shell, f"%%mipro rows {QUICK}\nq -> a")
    gate.open.set()
    names = ran(shell, "best_run.wait()\nfound = best")
    assert made_of(names["found"]) == made_of(names["best_run"].result()) != made_of(names["best_run"].job.student)


def test_a_name_that_the_user_binds_anew_is_left_alone(shell, gate):
    names = ran(shell, f"%%mipro rows {QUICK}\nq -> a")
    ran(shell, "best = 7")
    gate.open.set()
    names["best_run"].result(60)
    ran(shell, "kept = best")
    assert names["kept"] == 7


def test_the_second_run_of_a_cell_takes_the_name(shell, gate, capsys):
    cell = f"%%mipro rows {QUICK}\nq -> a"
    first = ran(shell, cell)["best_run"]
    second = ran(shell, cell)["best_run"]
    assert first is not second
    assert "The run that was called best before goes on: see %mipro." in capsys.readouterr().out
    ran(shell, "%mipro")
    assert "1  (name taken)  Predict  running" in capsys.readouterr().out
    assert "2 runs could be meant; name one: #1, best." in refused(shell, "%mipro stop")
    assert "no run is called '#3'; runs: #1, best." in refused(shell, "%mipro stop #3")
    assert "'#1' is one too many" in refused(shell, "%mipro stop best #1")
    assert first.status == second.status == "running"
    ran(shell, "%mipro stop #1  # as the message calls it")
    gate.open.set()
    assert first.wait(60)
    assert first.status == "stopped"
    second.result(60)
    ran(shell, "pass")
    assert made_of(shell.user_ns["best"]) == made_of(second.program)


@pytest.mark.slow
def test_a_run_that_nobody_holds_is_forgotten_and_the_others_keep_their_numbers(shell, capsys):
    import optuna  # noqa: F401 (it keeps the frames that first import it for ever: a run's, otherwise)

    cell = f"%%mipro rows {QUICK} --wait --into"
    first = weakref.ref(ran(shell, f"{cell} one\nq -> a")["one_run"])
    ran(shell, f"{cell} two\nq -> a")
    ran(shell, "del one, one_run")
    ran(shell, "pass")
    for view in shell.displayed:
        view.close()
    shell.displayed.clear()
    for _ in range(100):
        gc.collect()
        if first() is None:
            break
        time.sleep(0.1)  # the view's thread has it until it looks around
    else:
        pytest.fail("the run is kept")
    capsys.readouterr()
    ran(shell, "%mipro\n%mipro status #2")
    told = capsys.readouterr().out
    assert told.splitlines()[1].split()[:4] == ["2", "two", "Predict", "finished"]
    assert "two (Predict): finished" in told
    assert "no run is called '#1'; runs: two." in refused(shell, "%mipro status #1")


def test_a_run_that_goes_on_is_listed_though_no_name_holds_it(shell, gate, capsys):
    run = ran(shell, f"%%mipro rows {QUICK}\nq -> a").pop("best_run")
    ran(shell, "del best\n%mipro pause #1")
    assert run.status == "paused"
    run.unpause()
    gate.open.set()
    assert run.wait(60)


def test_the_trials_of_an_extension_are_counted(shell, gate, capsys):
    gate.open.set()
    run = ran(shell, f"%%mipro rows {QUICK} --wait\nq -> a")["best_run"]
    gate.open.clear()
    asked = threading.Event()
    run.listen(lambda event: asked.set() if isinstance(event, ev.RunExtended) else None)
    run.extend(7)
    assert asked.wait(60)
    capsys.readouterr()
    ran(shell, "%mipro")
    total = run.history.stages["search"].total
    assert total >= run.plan.trials_shown + 7
    assert f" of {total} " in capsys.readouterr().out


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_run_that_gets_no_name_is_stopped(shell, gate, monkeypatch, error):
    started = []

    def follow(book, name, run):
        started.append(run)
        raise error

    monkeypatch.setattr("mipro_nb.notebook.runbook.RunBook.follow", follow)
    assert shell.run_cell(f"%%mipro rows {QUICK}\nq -> a").error_in_exec is not None
    gate.open.set()
    (run,) = started
    assert run.wait(60)
    assert run.status == "stopped"


def test_names_are_pythons(shell, capsys):
    """Python reads a ligature in a name as its letters."""
    ran(shell, "import mipro_nb\n\ufb01ve, \ufb01rst = rows, mipro_nb.Predict('q -> a')")
    names = ran(shell, f"%mipro \ufb01ve --program \ufb01rst {QUICK} --into \ufb01t --wait")
    ran(shell, "%mipro status \ufb01t")
    assert "fit (Predict): finished" in capsys.readouterr().out
    assert made_of(names["fit"]) == made_of(names["fit_run"].result())


def test_pause_unpause_and_stop(shell, gate, capsys):
    run = ran(shell, f"%%mipro rows {QUICK}\nq -> a")["best_run"]
    ran(shell, "%mipro pause")
    assert run.status == "paused"
    ran(shell, "%mipro unpause best")
    assert run.status == "running"
    ran(shell, "%mipro stop best_run")
    assert run.status == "stopping"
    gate.open.set()
    assert run.wait(60)
    ran(shell, "%mipro stop best\n%mipro stop")
    told = capsys.readouterr().out
    assert "best has ended: stopped." in told
    assert "No run to stop" in told


def test_runs_are_listed_with_their_status_and_difference(shell, capsys):
    ran(shell, "%mipro\n%mipro status\n%mipro diff")
    assert capsys.readouterr().out.count("No run yet") == 3
    names = ran(shell, f"%%mipro rows {QUICK} --search mipro --wait\nq -> a")
    data = mn.examples(names["rows"], ["q"])
    names["mine"] = mn.optimize(mn.Predict("q -> a"), metric=mn.exact_match, trainset=data, num_trials=2)
    assert names["mine"].run.wait(60)
    capsys.readouterr()
    ran(shell, "%mipro")
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["#", "name", "program", "status", "best", "baseline", "trials", "cost"]
    assert first.split()[:4] == ["1", "best", "Predict", "finished"]
    assert second.split()[:4] == ["2", "mine", "Predict", "finished"]
    ran(shell, "%mipro status best")
    told = capsys.readouterr().out
    assert "best (Predict): finished" in told
    assert "verdict: improved" in told
    ran(shell, "%mipro diff best")
    told = capsys.readouterr().out
    assert "[-Given the fields `q`-]" in told
    assert "{+Answer with care+}" in told


def test_texts_of_an_lm_cannot_command_the_terminal(shell, capsys):
    def nasty(messages):
        if "<b>" in messages[0]["content"]:
            return f"a: answer {messages[-1]['content'].split()[-1]}"  # so that it becomes the best
        found = reply(messages)
        return found.replace("Answer with care", "Answer \x1b[2J<b>with care") if "care" in found else found

    mn.configure(lm=fake(replies=nasty))
    ran(shell, f"%%mipro rows {QUICK} --wait\nq -> a\n")
    capsys.readouterr()
    ran(shell, "%mipro diff")
    told = capsys.readouterr().out
    assert "<b>" in told
    assert "\x1b" not in told


FAULTY = f"%%mipro rows {QUICK} {{}}\nq -> a\n\ndef metric(e, p):\n    raise KeyError('column')\n"


def test_with_wait_a_failed_run_fails_the_cell(shell):
    assert "the run failed: MetricError: metric metric raised KeyError" in refused(shell, FAULTY.format("--wait"))


def test_without_wait_a_failed_run_is_told_by_the_list(shell, capsys):
    names = ran(shell, FAULTY.format(""))
    names["best_run"].wait(60)
    ran(shell, "%mipro\n%mipro status")
    told = capsys.readouterr().out
    assert "failed" in told
    assert "raised KeyError" in told


def test_the_language_model_is_set_and_told(shell, capsys):
    ran(shell, "%mipro_lm openai/gpt-5-mini\n%mipro_lm")
    assert settings().lm.model == "openai/gpt-5-mini"
    assert capsys.readouterr().out.splitlines() == ["The language model is openai/gpt-5-mini."] * 2
    mn.configure(lm=None)
    ran(shell, "%mipro_lm")
    assert "No language model is set" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gpt-5-mini", "Did you mean 'openai/gpt-5-mini'?"),
        ("sk-secret", "a model is named as provider/model"),
        ("local/smollm", "local LM 'smollm' is not known"),
        ("local/no.gguf", "no.gguf doesn't exist"),
        ("openai/gpt-5-mini sk-secret", "takes one model"),
    ],
)
def test_a_wrong_model_is_told_in_one_line_and_a_key_is_not_repeated(shell, given, said, capsys):
    before = settings().lm
    message = refused(shell, f"%mipro_lm {given}")
    assert said in message
    assert "secret" not in message + capsys.readouterr().out
    assert settings().lm is before


def completions(shell, text):
    """What a front end gets."""
    with provisionalcompleter():
        return [found.text for found in shell.Completer.completions(text, len(text))]


@pytest.mark.slow
def test_options_and_names_are_completed(shell):
    shell.user_ns.update(table=pd.DataFrame({"q": []}), prog=mn.Predict("q -> a"), number=3, judge=lambda e, p: 1)
    everything = completions(shell, "%%mipro ")
    assert everything[:2] == ["table", "rows"]
    assert {"--auto", "--help"} <= set(everything)
    assert completions(shell, "%%mipro rows --au") == ["--auto"]
    assert completions(shell, "%%mipro rows --auto ") == ["light", "medium", "heavy"]
    assert completions(shell, "%%mipro rows --auto=me") == ["medium"]
    assert completions(shell, "%%mipro --trainset ta") == ["table"]
    assert completions(shell, "%%mipro rows --program ") == ["prog"]
    assert completions(shell, "%%mipro rows --metric ") == ["judge", "exact_match"]
    assert completions(shell, "%%mipro rows --lm local/") == ["local/smollm2-135m"]
    assert "--auto" not in completions(shell, "%%mipro rows --auto light --")
    assert completions(shell, "%mipro st") == ["status", "stop"]
    assert completions(shell, "%mipro_lm op") == ["openai/gpt-5-mini"]
    assert "InputField" in completions(shell, "%%mipro rows\nclass R(Signature):\n    q: str = InputF")


class Lazy:
    """A proxy of something that can't be had now, as lazy imports and closed connections make them."""

    @property
    def __class__(self):
        raise RuntimeError("not connected")

    def __getattr__(self, name):
        raise RuntimeError("not connected")


class LazyText(str):
    def __str__(self):
        raise RuntimeError("not connected")


class Odd(type):
    __name__ = property(lambda self: 1 / 0)


def test_odd_objects_of_the_notebook_are_passed_over(shell, capsys):
    names = shell.user_ns
    names.update({"lazy": Lazy(), "text": LazyText("a.csv"), "odd": Odd("Odd", (), {})(), 7: "no name"})
    names.update(table=pd.DataFrame({"q": []}), prog=mn.Predict("q -> a"))
    for line, found in (
        ("%%mipro ta", ["table"]),
        ("%%mipro --program pr", ["prog"]),
        ("%%mipro --metric ", ["exact_match"]),
        ("%%mipro --lm local/", ["local/smollm2-135m"]),
        ("%mipro st", ["status", "stop"]),
        ("%mipro_lm op", ["openai/gpt-5-mini"]),
    ):
        assert completions(shell, line) == found
    ran(shell, "%mipro")
    assert "No run yet" in capsys.readouterr().out
    assert "Did you mean 'table'?" in refused(shell, "%%mipro tabel\nq -> a")
    assert "lazy is in use in this notebook (Lazy)" in refused(shell, "%%mipro rows --into lazy\nq -> a")
    ran(shell, "%%mipro rows --plan\nother = lazy\nroute = Signature('q -> a')")


@pytest.mark.slow
def test_a_run_is_completed_by_its_name(shell):
    ran(shell, f"%%mipro rows {QUICK} --into router --wait\nq -> a")
    assert completions(shell, "%mipro diff ") == ["router"]
    assert completions(shell, "%mipro diff router ") != ["router"]


def snapshot(shell):
    return (
        {kind: sorted(named) for kind, named in shell.magics_manager.magics.items()},
        sorted(shell.magics_manager.registry),
        {event: [one.__qualname__ for one in called] for event, called in shell.events.callbacks.items()},
        list(shell.input_transformers_cleanup),
        [matcher.__name__ for matcher in shell.Completer.custom_matchers],
        sorted(shell.strdispatchers["complete_command"].strs),
        sorted(shell.user_ns),
        len(shell.configurables),
    )


def test_unloading_leaves_ipython_as_it_was(bare):
    before = snapshot(bare)
    bare.extension_manager.load_extension("mipro_nb")
    loaded = snapshot(bare)
    assert loaded != before
    bare.extension_manager.reload_extension("mipro_nb")
    assert snapshot(bare) == loaded
    mn.load_ipython_extension(bare)  # twice does nothing
    assert snapshot(bare) == loaded
    bare.extension_manager.unload_extension("mipro_nb")
    assert snapshot(bare) == before


def test_a_run_outlives_a_reload(shell, gate, capsys):
    ran(shell, f"%%mipro rows {QUICK}\nq -> a")
    ran(shell, "%reload_ext mipro_nb")
    gate.open.set()
    shell.user_ns["best_run"].result(60)
    ran(shell, "found = best\n%mipro")
    assert made_of(shell.user_ns["found"]) == made_of(shell.user_ns["best_run"].program)
    assert "1  best  Predict  finished" in capsys.readouterr().out


NOTEBOOK = {
    "load": "%load_ext mipro_nb",
    "data": "rows = [{'q': f'item {i}', 'a': f'item {i}'} for i in range(40)]\n"
    "import mipro_nb\nfrom mipro_nb.testing import FakeLM\n"
    "mipro_nb.configure(lm=FakeLM(lambda messages: 'a: ' + messages[-1]['content'].removeprefix('q: ')))",
    "run": f"%%mipro rows {QUICK} --wait\nq -> a",
    "after": "print(best_run.status, best(q='item 5').a)",
}


def notebook_of(*cells):
    import nbformat

    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return made


def executed(*cells):
    """Run cells in a kernel of their own, as nbconvert and papermill do."""
    from nbclient import NotebookClient

    made = notebook_of(*cells)
    NotebookClient(made, timeout=120, kernel_name="python3").execute()
    return made


@pytest.mark.slow
def test_a_notebook_runs_from_start_to_end_in_a_kernel():
    cells = executed(*NOTEBOOK.values(), "%mipro", "%%mipro --help", "best_run.plan").cells
    assert "finished item 5" in cells[3].outputs[0].text
    assert "1  best  Predict  finished" in cells[4].outputs[0].text
    assert "--max-cost USD" in cells[5].outputs[0].text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%%mipro", "data is needed"),
        ("%%mipro rowz\nq -> a", "Did you mean 'rows'?"),
        (f"%%mipro rows\n{CLASS}\n1/0", "nothing was optimized"),
        (f"%%mipro rows {QUICK} --wait\nq -> a\n\ndef metric(e, p):\n    return p.b", "the run failed: MetricError"),
        ("%mipro stop nobody", "no run is called 'nobody'"),
    ],
)
def test_a_failing_cell_fails_the_notebook(cell, said):
    from nbclient.exceptions import CellExecutionError

    with pytest.raises(CellExecutionError, match=said):
        executed(NOTEBOOK["load"], NOTEBOOK["data"], cell)


@pytest.mark.slow
def test_a_failing_cell_fails_under_nbval(tmp_path):
    import subprocess
    import sys

    import nbformat

    nbformat.write(notebook_of(NOTEBOOK["load"], "%%mipro nothing\nq -> a"), tmp_path / "wrong.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", "-q"]
    found = subprocess.run([*command, "wrong.ipynb"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in found.stdout
    assert "MagicError" in found.stdout


@pytest.mark.slow
def test_a_kernel_completes_options_and_names():
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3")
    try:
        client.execute_interactive(f"{NOTEBOOK['load']}\n{NOTEBOOK['data']}", timeout=60)

        def completed(line, rest=""):
            reply = client.complete(line + rest, cursor_pos=len(line), reply=True, timeout=60)["content"]
            return line[reply["cursor_start"] : reply["cursor_end"]], reply["matches"]

        assert completed("%%mipro rows --au", "\nq -> a") == ("--au", ["--auto"])
        assert completed("%%mipro ro") == ("ro", ["rows"])
        assert completed("%%mipro rows --auto ") == ("", ["light", "medium", "heavy"])
        assert completed("%mipro st") == ("st", ["status", "stop"])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)

import pytest

from mipro_nb.errors import ConfigError
from mipro_nb.notebook.cellbody import Short, read_body
from mipro_nb.notebook.celloptions import OPTIONS, help_text
from mipro_nb.notebook.cellspec import CellSpec, read_cell, split_line


def refused(line, cell="q -> a"):
    with pytest.raises(ConfigError) as caught:
        read_cell(line, cell)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_option_arrives_at_the_setting_it_stands_for():
    spec = read_cell(
        "--trainset train --valset val --testset test --trials 9 --candidates 5 --demos 0 --max-cost 2.50 "
        "--storage sqlite:///runs.db "
        "--lm openai/gpt-5-mini --prompt-lm big --seed 0 --program p --metric m --into router --wait --plan",
        "",
    )
    assert (spec.trainset, spec.valset, spec.testset, spec.data) == ("train", "val", "test", None)
    assert (spec.lm, spec.prompt_lm, spec.program, spec.metric, spec.into) == (
        "openai/gpt-5-mini",
        "big",
        "p",
        "m",
        "router",
    )
    assert spec.wait
    assert spec.plan
    assert spec.keywords == {
        "num_trials": 9,
        "num_candidates": 5,
        "max_bootstrapped_demos": 0,
        "max_labeled_demos": 0,
        "max_cost": 2.5,
        "storage": "sqlite:///runs.db",
        "seed": 0,
    }


def test_every_option_has_a_field_and_stands_in_the_help():
    for option in OPTIONS:
        assert option.attribute in CellSpec.__slots__
        assert f"  {option.name}" in help_text()


@pytest.mark.parametrize(
    "line",
    ["tickets --auto light --wait", "--auto light tickets --wait", "--wait --auto=light tickets  # a note: it's"],
)
def test_data_may_stand_before_between_and_after_the_options(line):
    spec = read_cell(line, "q -> a")
    assert (spec.data, spec.auto, spec.wait) == ("tickets", "light", True)


def test_quotes_make_a_path_and_keep_its_spaces():
    assert [
        (str(word), word.is_name) for word in split_line("'my tickets.csv' tickets \"tickets\" C:\\data\\t.csv")
    ] == [
        ("my tickets.csv", False),
        ("tickets", True),
        ("tickets", False),
        ("C:\\data\\t.csv", False),
    ]
    assert read_cell('--trainset="my tickets.csv"', "q -> a").trainset == "my tickets.csv"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("t --trails 5", "option --trails is not known. Did you mean '--trials'?"),
        ("t \u2014auto light", "Did you mean '--auto'?"),
        ("t --api-key=sk-secret", "option --api-key is not known."),
        ("t --auto lite", "--auto='lite' is not known; accepted: 'light', 'medium', 'heavy'. Did you mean 'light'?"),
        ("t --auto", "--auto needs a value: --auto light|medium|heavy."),
        ("t --auto --wait", "--auto needs a value"),
        ("t --search tpe", "--search='tpe' is not known; accepted: 'paired', 'thompson', 'mipro'."),
        ("t --wait=yes", "--wait takes no value"),
        ("t --seed 1 --seed 2", "--seed stands twice"),
        ("t --trials five", "--trials='five': a whole number of 1 or more is needed. Nearest valid: 1."),
        ("t --trials 0", "Nearest valid: 1."),
        ("t --demos -1", "--demos=-1: a whole number of 0 or more is needed."),
        ("t --max-cost abc", "--max-cost 'abc': US dollars, a number above 0, are needed, as in --max-cost 2.50."),
        ("t --max-cost nan", "--max-cost 'nan'"),
        ("t --auto light --trials 5", "--auto light settles --trials too: drop --trials, or drop --auto."),
        ("t u", "DATA is one name or path, and 'u' is a second: see --valset and --testset."),
        ("t --testset u", "write --trainset t, or drop --testset."),
        ("--valset v", "data is needed"),
        ("", "data is needed"),
        ("'t", "a quote is not closed: 't"),
        ("t --into 2nd", "--into '2nd': a Python name is needed, as in --into best."),
        ("t --into class", "a Python name is needed"),
        ("t --into list", "--into list would hide Python's own list"),
        ("t --into t", "--into t would overwrite the data t"),
    ],
)
def test_a_wrong_line_says_what_to_change(line, said):
    message = refused(line)
    assert said in message
    assert "secret" not in message


def test_a_runs_number_is_a_word_only_where_it_is_looked_for():
    assert split_line("stop #2 # the second") == ["stop"]
    assert split_line("stop #2 # the second", numbers=True) == ["stop", "#2"]
    assert split_line("stop #two #2", numbers=True) == ["stop"]


def test_names_are_read_as_python_reads_them():
    line = "\ufb01ve --program \ufb01rst --metric \ufb01nd --into \ufb01t --testset"
    spec = read_cell("--trainset " + line + " 'the \ufb01le.csv'", "")
    assert (spec.trainset, spec.program, spec.metric, spec.into) == ("five", "first", "find", "fit")
    assert spec.testset == "the \ufb01le.csv"  # a path is kept as it is
    assert "would hide Python's own list" in refused("t --into \uff4c\uff49\uff53\uff54")
    assert "would overwrite the data fit" in refused("fit --into \ufb01t")


def test_help_is_given_whatever_else_stands_there():
    assert read_cell("--help", "this isn't Python").help


def test_the_short_form_is_found_on_its_line_and_becomes_a_comment_for_python():
    body = read_body(
        'import json\n\nmessage, n: int -> team: Literal["billing", "->"]  # why\n\ndef metric(e, p):\n    return 1\n'
    )
    assert body.short == (Short('message, n: int -> team: Literal["billing", "->"]  # why', 4),)
    compile(body.code, "cell", "exec")
    assert body.code.count("\n") == 6
    assert body.lines == {"json": 2, "metric": 6}


def test_the_text_at_the_top_is_the_short_forms_instruction():
    body = read_body('"""\nIs it a bug?\nThen say so.\n"""\nmessage -> team')
    assert (body.instruction, body.idle, body.short[0].line) == ("Is it a bug?\nThen say so.", True, 6)


@pytest.mark.parametrize(
    "cell",
    [
        'text = """\nmessage -> team\n"""',
        "def metric(\n    example,\n    prediction\n) -> bool:\n    return True",
        "def metric(example prediction) -> bool:\n    return True",
        "x = (1\nprint('a -> b')",
        "  message -> team",
    ],
)
def test_an_arrow_elsewhere_is_no_short_form(cell):
    body = read_body(cell)
    assert body.short == ()
    assert body.code == cell


def test_ipythons_own_lines_are_no_obstacle():
    body = read_body("%matplotlib inline\n!ls\nfiles = !ls\nq -> a\nq?\ndef metric(e, p):\n    return Score(1)")
    assert body.short == (Short("q -> a", 5),)
    assert body.late == {"Score"}
    assert body.code.splitlines()[:3] == ["%matplotlib inline", "!ls", "files = !ls"]


def test_names_that_the_body_binds_are_known_with_their_lines():
    body = read_body(
        "from x import A, B as C\nimport os.path\nfor i in range(3):\n    d = i\n"
        "class E: f = 1\ng, *h = [j for j in ()]"
    )
    assert body.lines == {"A": 2, "C": 2, "os": 3, "i": 4, "d": 5, "E": 6, "g": 7, "h": 7}
    assert body.imported == {"A", "C", "os"}


def test_names_that_functions_need_later_are_known():
    body = read_body(
        "class R(Signature):\n    q: str = InputField()\n\n"
        "class M(Module):\n    def f(self): return Predict(R)\n\ng = lambda: Score"
    )
    assert {"Predict", "Score"} <= body.late
    assert not {"Signature", "InputField", "Module"} & body.late


def test_an_await_is_found_outside_functions_alone():
    assert read_body("async def f():\n    await g()").awaits is None
    assert read_body("x = 1\nawait f()").awaits == 3


@pytest.mark.parametrize("cell", ["", "\n", "# a comment\n"])
def test_an_empty_cell_has_nothing_to_run(cell):
    assert read_body(cell).idle


def test_the_search_can_be_chosen():
    assert read_cell("t --search mipro", "q -> a").keywords == {"search": "mipro"}
    assert read_cell("t", "q -> a").keywords == {}

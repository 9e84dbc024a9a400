"""The report of a run: one HTML file, or Markdown, that says all and asks for nothing."""

import ast
import dataclasses
import html
import re
import threading
from html.parser import HTMLParser

import histories
import pytest

import mipro_nb as mn
from mipro_nb import History, adapter
from mipro_nb import events as ev
from mipro_nb.errors import ConfigError
from mipro_nb.notebook import account, ledger, markdown, page, recipe, report, static, vector
from mipro_nb.notebook.document import Details, Diff, Figure, Heading, Long, Paragraph, Table, Verbatim
from mipro_nb.text import visible

ROOM = report.ROOMS[0]
VOID = {"meta", "br"}
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "main", "nav", "ul", "li", "a", "h1", "h2", "h3", "p", "div"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary", "span", "pre", "del", "ins"),
    *("figure", "figcaption", "svg", "g", "path", "line", "text", "tspan", "rect"),
}


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.words, self.open, self.levels = [], [], [], [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *one) for one in attrs]
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def handle_comment(self, data):
        raise AssertionError(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the charts out: drawing takes seconds."""
    monkeypatch.setattr(vector, "drawn", lambda figure, narrow=False: "<svg ></svg>")


def blocks(history, room=ROOM):
    return account.written(history, room)


def of(kind, history):
    return [block for block in blocks(history) if isinstance(block, kind)]


def headings(history):
    return [block.text for block in of(Heading, history)]


def table(history, title):
    return next(block for block in of(Table, history) if block.title == title)


def cells(row):
    return [(cell.text if isinstance(cell, Long) else cell).replace("\u00a0", " ") for cell in row]


# ---- what it says


def test_the_order_is_that_of_the_questions():
    assert headings(histories.finished()) == [
        "MIPROv2 · Predict · finished",
        "Best instruction",
        "Charts",
        "Score of every trial",
        "Mean score by instruction and demo set",
        "Instructions (4)",
        "Demo sets (5)",
        "Trials (16)",
        "Validation examples, baseline against best",
        "Fixed (49)",
        "Broken (10)",
        "Cost",
        "Notes (1)",
        "Settings",
        "How to run it again",
    ]


def test_it_begins_with_the_verdict_the_date_and_both_scores(undrawn):
    text = Page(report.text(histories.finished())).text
    begin = text.index("MIPROv2 · Predict · finished Began 1970-01-01 00:00 UTC; 1 min 46 s to the last event")
    verdict = text.index("✓ Improved: 50.0% → 73.3% on 60 test examples (+23.3 points) 95% interval", begin)
    best = text.index("best on validation 64.0% 54.2% to 72.8% 100 trial 5: instruction 1, demos 4", verdict)
    assert text.index("baseline on validation 25.0% 17.5% to 34.4% 100", best) < text.index("Best instruction")


def test_prompts_are_told_in_full_with_all_their_demos():
    long = "Think. " * 1_000
    history = History(
        [
            histories.started(),
            *histories.bootstrap(texts=[{"message": "m " * 500, "team": "bug"}] * 3),
            *histories.propose(texts=(histories.ORIGINAL, long)),
            *histories.trial(0, "baseline", (0,), (0,), [0.0] * 20),
            *histories.trial(1, "full", (1,), (2,), [1.0] * 20),
        ]
    )
    (diff,) = of(Diff, history)
    assert (diff.old, diff.new) == (histories.ORIGINAL, long)
    assert [row[1].text for row in table(history, "demos of the best program").rows] == [
        f"message: {'m ' * 500}\nteam: bug"
    ] * 3


def test_each_predictor_has_its_own_prompts_and_chart():
    history = histories.two_predictors()
    told = headings(history)
    assert told.index("Best instruction of steps[0].answer") < told.index("Best instruction of judge")
    assert [figure.kind for figure in of(Figure, history)] == ["scores", "heat", "heat"]
    assert {row["position"] for row in of(Figure, history)[2].rows} == {1}


def test_figures_hold_no_texts_from_outside():
    for figure in of(Figure, histories.hostile()):
        words = {value for row in figure.rows for value in row.values() if isinstance(value, str)}
        assert words <= {"", "baseline", "minibatch", "full"}


def test_candidates_unfold_their_whole_text():
    rows = table(histories.finished(), "Instructions").rows
    assert cells(rows[0])[:6] == ["1 ★ best", "52.7%", "45.8% to 59.5%", "205", "5", "proposed, simple"]
    assert rows[0][6].text == histories.PROPOSED[0]
    assert rows[0][6].short.endswith("…")
    assert table(histories.finished(), "Instructions").marked == {0}
    demos = cells(table(histories.finished(), "Demo sets").rows[0])[6]
    assert demos == (
        "2 demos.\n\nmessage: I was charged twice this month.\nteam: billing\n\n"
        "message: The app closes when I open a photo.\nteam: bug"
    )


@pytest.mark.slow
def test_trials_are_listed_and_the_best_is_marked():
    found = table(histories.finished(), "trials")
    assert len(found.rows) == 16
    assert found.marked == {5}
    assert cells(found.rows[5]) == [
        *("5 ★ best", "full", "64.0%", "54.2% to 72.8%", "100", "", "64.0%", "instruction 1, demos 4")
    ]


def test_of_too_many_trials_those_that_stand_on_most_are_kept():
    room = dataclasses.replace(ROOM, trials=5)
    made = blocks(histories.finished(), room)
    rows = next(block for block in made if isinstance(block, Table) and block.title == "trials").rows
    assert [row[1] for row in rows][:3] == ["baseline", "full", "full"]
    assert (
        Paragraph(
            "11 of 16 trials are left out: those on the fewest examples, and of them the lowest scores. "
            "run.trials has all."
        )
        in made
    )


def test_changed_examples_come_with_the_exact_messages():
    history = histories.finished()
    closeups = of(Details, history)
    assert len(closeups) == 25 + 10
    assert Paragraph("The first 25 of 49; run.examples has all.") in blocks(history)
    assert closeups[0].summary.startswith("no. 0: 0 → 1, message: Message 0")
    (beside,) = closeups[0].blocks
    assert beside.names == ("baseline: score 0", "best: score 1")
    assert beside.left[0] == Verbatim(system(histories.ORIGINAL), "system")
    assert histories.PROPOSED[0] in beside.right[0].text
    assert [block.label for block in beside.right] == [
        *("system", "user", "assistant", "user", "assistant", "user", "reply", "output of the program")
    ]
    assert beside.right[-2].text == "team: billing"


def system(instruction):
    return adapter.messages(histories.SIGNATURE.with_instructions(instruction), [], {"message": ""})[0]["content"]


def test_a_run_that_found_nothing_better_says_so():
    history = histories.middle(2)
    assert Paragraph(account.UNCHANGED) in blocks(history)
    assert not of(Details, history)


def test_errors_and_failed_calls_are_told():
    history = histories.failed_examples()
    assert cells(table(history, "trials").rows[1])[4:6] == ["0", "10"]
    assert Paragraph("12 fixed, 6 broken, 2 the same, 1 not compared (a call failed).") in blocks(history)


# ---- what it cost, and how to do it again


def planned(**stages):
    """A run whose plan foresaw what each stage takes."""
    part = {"low": 10, "likely": 20.0, "high": 90}
    known = {"calls": part, "prompt_tokens": part, "completion_tokens": part, "cost": part}
    start = histories.started()
    plan = {**start.plan, "sizes": dict(start.sizes), "remarks": [], "stages": {"bootstrap": known, "search": known}}
    return dataclasses.replace(start, plan=plan, **stages)


def test_cost_stands_beside_the_plan():
    events = histories.finished().events
    found = table(History([planned(), *events[1:]]), "cost by stage")
    assert found.head[-2:] == ("planned calls", "planned dollars")
    rows = {row[0]: row for row in found.rows}
    assert rows["bootstrap"] == (
        *("bootstrap", "12", "0", "2,400", "120", "$0.0012", "9 s", "20 (10 to 90)"),
        "$20.0000 ($10.0000 to $90.0000)",
    )
    assert rows["propose"][-2:] == ("", "")
    assert rows["together"][1:3] == ("960", "1")
    assert rows["together"][-2] == "40 (20 to 180)"


def test_without_a_plan_and_without_prices_cost_says_what_is_known():
    events = [*histories.zero_shot().events, ev.LMUsed("search", ev.Usage(1, 0, 1, 1, None), at=107.0)]
    found = table(History(events), "cost by stage")
    assert len(found.head) == len(found.rows[0]) == 7
    assert {row[0]: row[5] for row in found.rows} == {
        "propose": "$0.0091",
        "search": "unknown",
        "verdict": "$0.0000",
        "together": "unknown",
    }


def test_pauses_and_what_lies_between_runs_take_no_time():
    history = History(
        [
            histories.started(),
            ev.StageStarted("search", 2, at=10.0),
            ev.RunPaused(True, at=20.0),
            ev.RunPaused(False, at=50.0),
            ev.StageStarted("verdict", 2, at=55.0),
            ev.RunFinished("finished", at=60.0),
            ev.RunExtended(1, 10, at=100.0),
            ev.RunFinished("finished", at=103.0),
        ]
    )
    assert ledger.seconds_by_stage(history) == {"search": 18.0, "verdict": 5.0}


def test_settings_that_differ_from_their_defaults_are_marked():
    found = table(histories.finished(), "settings; marked: not the default")
    marked = {found.rows[place][0] for place in found.marked}
    assert marked == {"auto", "task_model", "prompt_model", "search"}
    assert ("seed", "9", "9") in found.rows


def test_the_data_the_versions_and_the_run_are_named():
    told = [block.text for block in of(Paragraph, histories.finished())]
    assert "Examples: training 40, validation 100, test 60" in told
    assert "Versions: mipro_nb 0.1.0" in told
    assert "Run: id run, began 1970-01-01 00:00 UTC" in told


def code_of(history):
    return next(block.text for block in of(Verbatim, history) if block.language == "python")


def test_the_code_runs_and_makes_the_same_signature_and_settings():
    class Ticket(mn.Signature):
        """Say what the ticket is about.

        Be short; "quotes" and \\ stay.
        """

        message: str = mn.InputField(desc="what the customer's wrote")
        team: "Literal['billing', 'bug']" = mn.OutputField()  # noqa: F821

    event = histories.started(settings={"seed": 0, "auto": None, "num_candidates": 5, "num_trials": 7})
    event = dataclasses.replace(event, signatures={"self": Ticket.to_json()})
    code = recipe.code(event)
    given = {}

    class Fake:
        def __init__(self, metric, **settings):
            given.update(settings)

        def compile(self, program, **settings):
            given.update(settings, signature=program.signature)

    scope = {"__name__": "again"}
    exec(code.replace("mn.MIPROv2", "MIPROv2"), scope | {"MIPROv2": Fake})
    assert given.pop("signature") == Ticket
    assert given.pop("task_model").model == "local/smollm2-135m"
    assert given.pop("prompt_model").model == "local/smollm2-135m"
    data = dict.fromkeys(("trainset", "valset", "testset"), ...)
    assert given == {"seed": 0, "num_candidates": 5, "num_trials": 7, "search": "mipro", **data}


def test_how_the_lms_sampled_is_told_again():
    sampling = {"model": "openai/x", "temperature": 0.2, "max_tokens": None}
    settings = {"task_model": "openai/x", "lms": {"task_model": sampling}, "max_cost": 2.5, "minibatch": False}
    code = recipe.code(histories.started(settings=settings))
    assert "task_model=mn.LM('openai/x', temperature=0.2)," in code
    assert "prompt_model=mn.LM('local/smollm2-135m')," in code
    assert "max_cost=2.5" in code[code.index("optimizer.compile") :]
    assert "minibatch=False" in code
    assert "lms" not in code


def test_signatures_with_models_and_programs_of_several_predictors_are_told_too():
    code = code_of(histories.two_predictors())
    ast.parse(code)
    assert "# of the predictor steps[0].answer" in code
    assert "program = ...  # Pipeline, with these signatures" in code


def test_a_thinking_program_gets_its_reasoning_from_its_class():
    start = histories.started(program="ChainOfThought")
    thinking = mn.ChainOfThought(histories.SIGNATURE).signature
    code = recipe.code(dataclasses.replace(start, signatures={"self": thinking.to_json()}))
    assert "reasoning" not in code
    assert "program = mn.ChainOfThought(" in code


@pytest.mark.parametrize("payload", [*histories.PAYLOADS, "x\nimport os", 'x"""\nimport os\n"""', "'''\\", "x\u2028y"])
def test_nothing_from_a_log_becomes_code(payload):
    class Harmless(ast.NodeVisitor):
        def visit_Import(self, node):
            assert [alias.name for alias in node.names] == ["mipro_nb"]

        def visit_Call(self, node):
            assert ast.unparse(node.func).startswith(("mn.", "optimizer.", "Signature1.", "A."))
            self.generic_visit(node)

    signature = {**histories.SIGNATURE.to_json(), "name": payload, "instructions": payload}
    signature["fields"] = [{**field, "desc": payload} for field in signature["fields"]]
    names = ("metric", "task_model", "teacher", "auto", "search", payload)
    event = histories.started((payload,), payload, settings=dict.fromkeys(names, payload))
    event = dataclasses.replace(event, signatures={payload: signature}, versions={"mipro_nb": payload})
    tree = ast.parse(recipe.code(event))
    Harmless().visit(tree)
    assert {type(node) for node in tree.body} <= {ast.Import, ast.Assign, ast.ClassDef, ast.FunctionDef}
    parts = recipe.reproduce(History([event]))
    assert not any(isinstance(part, Verbatim) and part.language == "sh" for part in parts)


# ---- any run


@pytest.mark.parametrize("name", sorted(histories.ALL))
@pytest.mark.parametrize("format", [".html", ".md"])
def test_any_run_has_a_report(name, format, undrawn):
    text = report.text(histories.ALL[name](), format)
    text.encode()
    assert ("The run has not begun." in text) == (name == "empty")


def test_a_run_that_was_stopped_says_why_there_is_no_verdict():
    text = report.text(histories.stopped(), ".md")
    assert text.startswith("# MIPROv2 · Predict · stopped\n\nas asked\n")
    assert static.UNJUDGED in text
    assert "No trial was fully evaluated." in report.text(histories.bootstrapping(), ".md")
    assert "LMUnavailable: the server doesn't answer" in report.text(histories.failed(), ".md")
    assert "Demo sets" not in report.text(histories.zero_shot(), ".md")


# ---- the page


def allowed(tag, name, value):
    """Whether an attribute is one of ours and can ask for nothing."""
    if name == "href":
        return tag == "a" and re.fullmatch(r"#[a-z-]+", value)
    if name == "style":
        return tag == "svg" and re.fullmatch(r"min-width:\d+px", value)
    if tag == "meta":
        return name in ("charset", "http-equiv", "content", "name")
    ours = {
        "lang",
        "id",
        "class",
        "role",
        "tabindex",
        "scope",
        "data-name",
        "aria-label",
        "preserveAspectRatio".lower(),
    }
    return name in ours | {shape.lower() for shape in vector.SHAPE} | vector.PAINT | vector.FAINT


@pytest.mark.parametrize("name", sorted(histories.ALL))
def test_the_page_holds_nothing_that_runs_or_asks(name, undrawn):
    found = Page(report.text(histories.ALL[name]()))
    assert not found.open
    assert set(found.tags) <= ELEMENTS
    assert not [one for one in found.attributes if not allowed(*one)]


def test_the_page_may_ask_for_nothing(undrawn):
    source = report.text(histories.finished())
    assert f'<meta http-equiv="Content-Security-Policy" content="{page.POLICY}">' in source
    assert page.POLICY.startswith("default-src 'none'; style-src 'unsafe-inline'; ")
    assert not re.search(r"url\(|@import|<script|<link|<img", source)


def test_hostile_texts_are_shown_as_text(undrawn):
    source = report.text(histories.hostile())
    text = Page(source).text
    for payload in histories.PAYLOADS:
        assert text.count(" ".join(visible(payload).split())) >= 5
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f\x00\x07\x1b\ud800-\udfff]", source)


def test_headings_are_in_order_and_contents_lead_to_them(undrawn):
    for make in (histories.finished, histories.two_predictors, histories.failed_examples):
        found = Page(report.text(make()))
        assert found.levels[0] == 1
        assert found.levels.count(1) == 1
        assert all(after <= before + 1 for before, after in zip(found.levels, found.levels[1:], strict=False))
        ids = [value for _, name, value in found.attributes if name == "id"]
        assert len(ids) == len(set(ids))
        assert [value[1:] for _, name, value in found.attributes if name == "href"] == ids


def test_tables_are_told_to_those_who_hear_them(undrawn):
    found = Page(report.text(histories.finished()))
    assert found.tags.count("table") == found.tags.count("caption")
    scopes = {value for _, name, value in found.attributes if name == "scope"}
    assert scopes == {"col", "row"}
    assert ("html", "lang", "en") in found.attributes


@pytest.mark.slow
def test_charts_are_drawn_bare_for_wide_and_for_narrow():
    source = report.text(histories.two_predictors(("a<b>&", "judge")))
    found = Page(source)
    assert found.tags.count("svg") == 4
    assert not [one for one in found.attributes if not allowed(*one)]
    assert set(found.tags) <= ELEMENTS
    assert "currentColor" in source
    labels = [value for tag, name, value in found.attributes if (tag, name) == ("svg", "aria-label")]
    assert labels[2].startswith("Mean scores of a<b>&, in per cent")
    assert "baseline 25.0%" in found.text
    for drawing in re.findall("<svg.*?</svg>", source, re.DOTALL):
        assert "id=" not in drawing.replace("width=", "")


def test_a_drawing_keeps_letters_escaped_and_drops_what_could_act():
    made = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="10" height="10" '
        'viewBox="0 0 10 10"><defs><clipPath id="a"/></defs><a xlink:href="javascript:1"><text>x</text></a>'
        '<text fill="#808080" onclick="1" style="x" id="b" x="1.2345">&lt;script&gt;</text><image href="y"/></svg>'
    )
    bare = vector.bared(made)
    assert '<text fill="currentColor" x="1.2">&lt;script&gt;</text>' in bare
    assert not re.search('javascript|onclick|clipPath|image|style="x|id=', bare.replace("width=", ""))


# ---- Markdown


def test_markdown_tells_the_same_in_the_same_order():
    text = report.text(histories.finished(), ".md")
    assert re.findall(r"^#+ (.*)$", text, re.MULTILINE) == headings(histories.finished())
    assert "| **5 ★ best** | full | 64.0% | 54.2% to 72.8% | 100 |  | 64.0% | instruction 1, demos 4 |" in text.replace(
        "\u00a0", " "
    )
    assert "{+You are+}" in text
    assert "> **✓ Improved: 50.0% → 73.3% on 60 test examples (+23.3 points)**" in text
    assert f"no. 1 ★ best:\n\n```\n{histories.PROPOSED[0]}\n```" in text.replace("\u00a0", " ")


WORDS = [
    ("best on validation", "best on validation"),
    ("num_trials 3", "num_trials 3"),
    ("$5", "`$5`"),
    ("a|b", "<code>a&#124;b</code>"),
    ("a `b`", "<code>a &#96;b&#96;</code>"),
    ("_a_", "`_a_`"),
    ("- a", "`- a`"),
    ("1. a", "`1. a`"),
    ("https://evil.example", "`https://evil.example`"),
    ("www.evil.example", "`www.evil.example`"),
    ("a\nb", "a b"),
    ("<b>", "`<b>`"),
    ("\u202ex", "⟨U+202E⟩x"),
    ("", ""),
]


@pytest.mark.parametrize(("given", "expected"), WORDS)
def test_words_stand_as_they_are_and_all_else_as_code(given, expected):
    assert markdown.inline(given) == expected


def test_a_fence_is_longer_than_any_in_it():
    assert markdown.fenced("a\n````\nb") == "`````\na\n````\nb\n`````"


def outside_code(text):
    """Return what of a Markdown text isn't in a fence, a code span, or our own tags."""
    text = re.sub(r"^(`{3,})[^`\n]*\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<code>[\w &#;]*</code>", "", text)
    text = re.sub(r"(?<!`)`[^`\n]+`(?!`)", "", text)
    return re.sub(r"</?(details|summary)>", "", text)


@pytest.mark.parametrize("name", sorted(histories.ALL))
def test_markdown_holds_nothing_active_outside_code(name):
    rest = outside_code(report.text(histories.ALL[name](), ".md"))
    assert not re.search(r"[<$`\\\[\]~&]|://|javascript", rest)


@pytest.mark.parametrize("name", ["finished", "hostile"])
def test_a_markdown_renderer_makes_nothing_active_of_it(name):
    mistune = pytest.importorskip("mistune")  # what nbconvert draws Markdown with
    made = mistune.create_markdown(escape=False, plugins=["table", "strikethrough", "url", "math", "footnotes"])(
        report.text(histories.ALL[name](), ".md")
    )
    found = re.findall(r"<([a-z0-9]+)((?:\s[^<>]*)?)>", made)
    assert {tag for tag, _ in found} <= {
        *("h1", "h2", "h3", "p", "blockquote", "strong", "pre", "code", "table", "thead", "tbody", "tr", "th", "td"),
        *("details", "summary"),
    }
    assert all(re.fullmatch(r'( style="text-align:\w+"| class="language-\w+")?', given) for _, given in found)
    rows = re.findall(r"<tr>(.*?)</tr>", made, re.DOTALL)
    assert {row.count("<td") for row in rows if "steps" in row} <= {2, 7, 8}
    for payload in histories.PAYLOADS[:2] if name == "hostile" else ():
        assert html.escape(payload) in made


# ---- the file


@pytest.mark.parametrize("name", ["report.html", "report.htm", "REPORT.HTML", "report.md", "report.markdown"])
def test_the_end_of_the_name_says_the_format(name, tmp_path, undrawn):
    path = report.write(histories.finished(), tmp_path / name)
    assert path == tmp_path / name
    is_page = path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert is_page == ("htm" in name.lower())
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("report.pdf", r"path='.*report.pdf': a name that ends in one of .html, .htm, .md, .markdown is needed"),
        ("report.markdow", "Did you mean '.markdown'"),
        ("report", "a name that ends in one of"),
        ("gone/report.md", r"the folder '.*gone' doesn't exist"),
        ("folder.html", "this is a folder"),
    ],
)
def test_what_is_wrong_with_a_path_is_said(given, words, tmp_path):
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(ConfigError, match=words):
        report.write(histories.finished(), tmp_path / given)
    assert [one.name for one in tmp_path.iterdir()] == ["folder.html"]


@pytest.mark.parametrize("wrong", [None, 3, b"report.md"])
def test_a_path_is_needed(wrong):
    with pytest.raises(ConfigError, match="the path of a file is needed"):
        report.write(histories.finished(), wrong)


def test_an_unknown_format_is_named():
    with pytest.raises(ConfigError, match="format='pdf' is not known"):
        report.text(histories.finished(), "pdf")


def test_an_older_report_stays_when_the_new_one_fails(tmp_path, monkeypatch):
    path = tmp_path / "report.md"
    path.write_text("old")
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        report.write(histories.finished(), path)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["report.md"]


# ---- large runs


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: histories.large(2000, 200), lambda: histories.large(30, 10_000)])
def test_a_large_run_gives_a_page_of_a_few_megabytes(make):
    history = make()
    source = report.text(history)
    assert len(source.encode()) <= report.LARGEST
    text = Page(source).text
    assert "; run.examples has all." in text
    if len(history.trials) > ROOM.trials:
        assert "1,701 of 2,001 trials are left out" in text
    assert len(report.text(history, ".md").encode()) <= 1_000_000


def test_texts_that_are_far_too_long_are_cut_and_say_so(undrawn):
    texts = [histories.ORIGINAL, *("<&> " * 50_000 + str(n) for n in range(40))]
    events = [histories.started(), *histories.bootstrap(), *histories.propose(texts=texts)]
    source = report.text(History([*events, *histories.search(30, instructions=41)]))
    assert len(source.encode()) <= report.LARGEST
    assert re.search(r"… \([\d,]+ more of 200,00\d characters\)", source)


def test_a_run_that_goes_on_is_not_said_to_have_ended():
    text = report.text(histories.middle(), ".md")
    assert "No verdict yet" in text
    assert "the run ended" not in text


@pytest.mark.slow
def test_many_reports_at_once_and_files_of_others_are_safe(tmp_path):
    mine = tmp_path / "c.md.part"
    mine.write_text("mine")
    errors = []

    def write():
        try:
            for _ in range(3):
                report.write(histories.finished(), tmp_path / "c.md")
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert mine.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.md", "c.md.part"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.md").write_text("old")
    (tmp_path / "link.md").symlink_to(tmp_path / "real.md")
    assert report.write(histories.finished(), tmp_path / "link.md") == tmp_path / "link.md"
    assert (tmp_path / "link.md").is_symlink()
    assert "MIPROv2" in (tmp_path / "real.md").read_text()


@pytest.mark.parametrize("path", ["a\0.html", "x" * 5000 + ".html", "~nobody-of-this-name/x.html"])
def test_a_name_that_no_file_can_have_is_an_error_that_says_so(path):
    with pytest.raises(ConfigError, match="path="):
        report.write(histories.finished(), path)


def started(signatures, **settings):
    names = tuple(signatures)
    return ev.RunStarted("1", "Two", names, settings, {}, {"training": 3}, {}, signatures)


def plain(name, instruction="Do.", field="q"):
    fields = [{"name": field, "kind": "input", "type": "str", "desc": ""}]
    fields.append({"name": "a", "kind": "output", "type": "str", "desc": ""})
    return {"name": name, "instructions": instruction, "fields": fields, "models": {}}


@pytest.mark.parametrize("name", ["mn", "Literal", "program", "Signature"])
def test_a_signature_never_takes_a_name_that_the_code_needs(name):
    told = recipe.code(started({"one": plain(name), "two": plain("Same"), "three": plain("Same")}))
    classes = re.findall(r"^class (\w+)\(", told, re.M)
    assert len(set(classes)) == 3
    assert name not in classes


def test_odd_values_are_code_that_python_reads():
    told = recipe.code(
        started({"one": plain("One", "half \ud800"), "two": plain("Two", field="from")}, metric_threshold=float("inf"))
    )
    compile(told, "recipe", "exec")
    assert "metric_threshold=float('inf')" in told
    told.encode()


def test_what_else_an_lm_was_given_is_named():
    lms = {"task_model": {"model": "openai/x", "temperature": 0.0, "max_tokens": None, "more": ["api_base", "top_p"]}}
    history = History([started({"one": plain("One")}, lms=lms)])
    assert "task_model was also given api_base, top_p" in report.text(history, ".md").replace("\\", "").replace("`", "")

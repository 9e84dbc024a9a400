import copy
import threading

import pytest

from mipro_nb import ChainOfThought, Example, Module, Predict, configure, context
from mipro_nb.errors import ConfigError, LoadError
from mipro_nb.module import tracing
from mipro_nb.testing import FakeLM


class Answer(Module):
    def __init__(self):
        self.rewrite = Predict("question -> search")
        self.answer = ChainOfThought("question, search -> answer")

    def forward(self, question):
        return self.answer(question=question, search=self.rewrite(question=question).search)


class Panel(Module):
    """Predictors in every place where a program may keep them."""

    def __init__(self):
        shared = Predict("q -> shared")
        self.first, self.again = shared, shared
        self.steps = [Predict("q -> a"), (Predict("q -> b"), [Predict("q -> c")])]
        self.by_team = {"bug": Predict("q -> d"), 3: {"x": Predict("q -> e")}}
        self.inner = Answer()
        self.nothing = {"text": "q -> z", "number": 3}
        self.me = self


def fake(messages):
    asked = messages[-1]["content"]
    return "search: kettles" if "search:" not in asked else "reasoning: because\nanswer: " + asked[-7:]


def names(program):
    return [name for name, _ in program.named_predictors()]


def test_a_program_runs_its_steps():
    configure(lm=FakeLM(fake))
    assert Answer()(question="Which one?").answer == "kettles"


def test_predictors_are_found_wherever_they_are_each_once():
    assert names(Answer()) == ["rewrite", "answer"]
    assert names(Panel()) == [
        "first",
        "steps[0]",
        "steps[1][0]",
        "steps[1][1][0]",
        "by_team['bug']",
        "by_team[3]['x']",
        "inner.rewrite",
        "inner.answer",
    ]
    assert names(Predict("q -> a")) == ["self"]
    assert names(Module()) == []


def test_predictors_as_a_list_and_as_dspy_calls_them():
    program = Answer()
    assert program.predictors[0] is program.rewrite
    assert program.predictors() == program.predictors == [program.rewrite, program.answer]
    assert program.predictors()[-1] is program.answer


def test_a_copy_is_independent():
    program = Panel()
    program.first.demos = [Example(q="1", shared=["x"])]
    twin = program.deepcopy()
    assert names(twin) == names(program)
    assert twin.first is twin.again
    assert twin.me is twin
    twin.first.signature = twin.first.signature.with_instructions("Other.")
    twin.first.demos[0].shared.append("y")
    twin.first.demos.append(Example(q="2"))
    twin.by_team[3]["x"].demos = [Example(q="3")]
    twin.nothing["number"] = 4
    assert program.first.signature.instructions != "Other."
    assert program.first.demos == [Example(q="1", shared=["x"])]
    assert program.by_team[3]["x"].demos == []
    assert program.nothing["number"] == 3
    assert not set(map(id, twin.predictors)) & set(map(id, program.predictors))


class Uncopyable:
    def __deepcopy__(self, memo):
        raise RuntimeError("a tensor with a history")


@pytest.mark.parametrize(
    "value",
    [threading.Lock(), FakeLM([]), (n for n in "ab"), Uncopyable(), Answer],
    ids=["lock", "LM", "generator", "refuses", "class"],
)
@pytest.mark.parametrize("copied", [Module.deepcopy, copy.deepcopy, Module.reset_copy])
def test_what_cannot_be_copied_is_shared(value, copied):
    program = Answer()
    program.tool, program.tools = value, [{"x": value}]
    program.set_lm(FakeLM(fake))
    twin = copied(program)
    assert twin.tool is value
    assert twin.tools[0]["x"] is value
    assert twin.tools is not program.tools
    assert twin.rewrite.lm is program.rewrite.lm
    assert twin.rewrite is not program.rewrite


def test_a_reset_copy_has_no_demos():
    program = Answer()
    program.answer.demos = [Example(question="q")]
    assert [predictor.demos for predictor in program.reset_copy().predictors] == [[], []]
    assert len(program.answer.demos) == 1


def test_set_lm_takes_an_lm_a_name_or_none():
    program, lm = Answer(), FakeLM(fake)
    program.set_lm(lm)
    assert [predictor.lm for predictor in program.predictors] == [lm, lm]
    program.set_lm("openai/gpt-5-mini")
    assert program.rewrite.lm.model == "openai/gpt-5-mini"
    program.set_lm(None)
    assert program.rewrite.lm is None
    with pytest.raises(ConfigError, match="lm=3: an LM or a model's name is needed"):
        program.set_lm(3)


def forms():
    class Optional(Module):
        def forward(self, q, n=3, *, flag, other=None): ...

    class Any(Module):
        def forward(self, **inputs): ...

    class Star(Module):
        def forward(self, *args): ...

    return [(Answer(), ["question"]), (Optional(), ["q", "flag"]), (Any(), None), (Star(), None)]


@pytest.mark.parametrize(("program", "expected"), forms(), ids=["one", "optional", "any", "star"])
def test_the_inputs_are_those_that_forward_requires(program, expected):
    assert program.input_names() == expected
    assert Predict("a, b -> c").input_names() == ["a", "b"]


def test_inputs_go_by_name():
    with pytest.raises(ConfigError, match=r"Answer takes its inputs by name, as in program\(question=...\)"):
        Answer()("Which one?")
    with pytest.raises(ConfigError, match=r"Predict takes its inputs by name, as in program\(a, b=...\)"):
        Predict("a, b -> c")("x", "y")


def test_a_module_needs_forward():
    with pytest.raises(ConfigError, match="Empty has no forward method; define"):
        type("Empty", (Module,), {})()(q=1)


def test_messages_shows_the_first_step_and_sends_nothing():
    lm = FakeLM(fake)
    configure(lm=lm)
    program = Answer()
    program.rewrite.demos = [Example(question="Who?", search="people")]
    shown = program.messages(question="Which one?")
    assert [turn["content"] for turn in shown[1:]] == ["question: Who?", "search: people", "question: Which one?"]
    assert lm.calls == 0
    program(question="Which one?")
    assert lm.prompts[0] == shown


def test_messages_needs_no_lm_and_passes_through_a_broad_except():
    class Careful(Module):
        def __init__(self):
            self.step = Predict("q -> a")

        def forward(self, q):
            try:
                return self.step(q=q)
            except Exception:  # noqa: BLE001 (as users write it)
                return None

    assert Careful().messages(q="hi")[-1]["content"] == "q: hi"


def test_messages_of_a_program_without_a_step_says_so():
    class Plain(Module):
        def forward(self, q):
            return q

    with pytest.raises(ConfigError, match="Plain calls no predictor for these inputs"):
        Plain().messages(q="hi")


def test_a_trace_holds_the_steps_in_order_and_only_inside():
    program = Answer()
    with context(lm=FakeLM(fake)), tracing() as steps:
        program(question="Which one?")
        with tracing() as inner:
            program.rewrite(question="And?")
    assert [step.predictor for step in steps] == [program.rewrite, program.answer]
    assert dict(steps[0].inputs) == {"question": "Which one?"}
    assert steps[1].outputs["answer"] == "kettles"
    assert len(inner) == 1
    with context(lm=FakeLM(fake)):
        program(question="Which one?")
    assert len(steps) == 2


# ---- save and load


def test_a_program_is_saved_and_loaded_into_another(tmp_path):
    program = Answer()
    program.answer.signature = program.answer.signature.with_instructions("Antworte, kurz: é 🫖 \u2028 \ud800.")
    program.answer.demos = [Example(question="q", search="s", reasoning="r", answer="a")]
    path = program.save(tmp_path / "new" / "router")
    assert path == tmp_path / "new" / "router.json"
    other = Answer()
    assert other.load(tmp_path / "new" / "router") is other
    assert other.answer.signature == program.answer.signature
    assert other.answer.demos == program.answer.demos
    assert other.rewrite.demos == []
    assert other.messages(question="x") == program.messages(question="x")


def test_every_predictor_keeps_its_place(tmp_path):
    program = Panel()
    for place, predictor in enumerate(program.predictors):
        predictor.signature = predictor.signature.with_instructions(f"Step {place}.")
    path = program.save(tmp_path / "panel.json")
    found = [predictor.signature.instructions for predictor in Panel().load(path).predictors]
    assert found == [f"Step {place}." for place in range(8)]


def test_a_file_of_other_predictors_is_refused_and_changes_nothing(tmp_path):
    path = Predict("q -> a", "Saved.").save(tmp_path / "one")
    program = Answer()
    with pytest.raises(LoadError, match=r"one.json holds the predictors \['self'\], this program has \['answer', 'rew"):
        program.load(path)
    assert program.rewrite.signature == Answer().rewrite.signature

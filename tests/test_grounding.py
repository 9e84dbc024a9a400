import random

from programs import TwoSteps, fake, reply, rows

import mipro_nb as mn
from mipro_nb.errors import LMUnavailable
from mipro_nb.grounding import Grounding, describe, gather, outline, source
from mipro_nb.pool import Pool


def ask(train, replies=reply, program=None, **grounding):
    lm = fake(replies=replies, num_retries=0)
    history = mn.History()
    with mn.context(lm=lm), Pool(2, emit=history) as pool:
        shared = gather(program or mn.Predict("q -> a"), train, "", Grounding(**grounding), random.Random(0), pool)
    return shared, history, lm


def notes(history):
    return [noted.message for noted in history.notes]


def shown(lm):
    return [p[-1]["content"] for p in lm.prompts if "examples from a dataset" in p[0]["content"]]


def test_a_large_dataset_is_sampled_at_random_and_it_is_said():
    _, history, lm = ask(rows(500), program_aware=False)
    assert len(shown(lm)) == 10
    numbers = {
        int(part.split()[0])
        for text in shown(lm)
        for part in text.split("q: item ")[1:]
        for part in [part.split(";")[0]]
    }
    assert len(numbers) == 100
    assert max(numbers) > 400
    assert any("100 of 500 examples" in note for note in notes(history))


def test_long_fields_are_cut_within_the_budget():
    train = mn.examples([{"q": "long " * 10_000, "a": "x"} for _ in range(10)], inputs=["q"])
    _, history, lm = ask(train, program_aware=False)
    assert all(len(text) < 8_000 for text in shown(lm))
    assert history.notes


def test_a_small_dataset_is_seen_whole_and_nothing_is_said():
    _, history, lm = ask(rows(25), view_data_batch_size=10)
    assert len(shown(lm)) == 3
    assert history.notes == []
    assert history.usage.calls == lm.calls == 3 + 1 + 2


def test_an_outage_leaves_a_part_out():
    def replies(messages):
        if "examples from a dataset" in messages[0]["content"]:
            raise LMUnavailable("down")
        return "text"

    shared, history, _ = ask(rows(5), replies)
    assert shared["data"] == ""
    assert shared["program"] == "text"
    assert any("left out" in note for note in notes(history))


def test_the_program_is_shown_as_code_or_as_outline():
    assert "def forward(self, q: str)" in source(TwoSteps())
    assert source(mn.Predict("q -> a")) == "program = Predict('q: str -> a: str')"
    made = type("Made", (mn.Module,), {})()
    made.step = mn.ChainOfThought("q -> a")
    assert source(made).startswith("class Made(Module):\nstep = ChainOfThought(")
    assert outline("x", mn.Predict("q -> a")) == "x = Predict('q: str -> a: str')"


def test_examples_are_described_on_one_line():
    assert describe({"q": "a\n b", "n": [1, 2]}) == "q: a b; n: [1, 2]"


def test_the_code_of_a_class_made_in_a_notebook_is_that_of_its_methods():
    """Its file can't be found, its methods' can: as IPython does it."""
    import linecache

    code = (
        "class Answer(mn.Module):\n"
        "    def __init__(self):\n"
        "        self.answer = mn.Predict('q -> a')\n\n"
        "    def forward(self, q):\n"
        "        return self.answer(q=q.strip())\n"
    )
    name = "/tmp/ipykernel_1/123.py"
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    namespace = {"mn": mn, "__name__": "__main__"}
    exec(compile(code, name, "exec"), namespace)
    shown = source(namespace["Answer"]())
    assert shown.startswith("class Answer(Module):")
    assert "self.answer(q=q.strip())" in shown

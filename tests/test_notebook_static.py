import base64
import html
import json
import re
from html.parser import HTMLParser

import histories
import pytest

from mipro_nb import History
from mipro_nb import events as ev
from mipro_nb.notebook import static
from mipro_nb.text import cut, visible

ALLOWED = {"div", "table", "tr", "td", "b", "i", "pre"}
HARMLESS = re.compile(r"[a-z-]+:[\w#%.,() -]+(;[a-z-]+:[\w#%.,() -]+)*")


class Page(HTMLParser):
    """What a browser would make of a page: its elements, attributes and text."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.words, self.open = set(), [], [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def handle_comment(self, data):
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())


def page(history, status=""):
    return Page(static.frozen(history, status)["text/html"])


# ---- what one sees


def test_the_verdict_is_first():
    text = page(histories.finished()).text
    assert text.startswith(
        "MIPROv2 · Predict · finished ✓ Improved: 50.0% → 73.3% on 60 test examples (+23.3 points) "
        "95% interval of the difference: +5.0 to +41.7 points, p = 0.024; 24 examples fixed, 10 broken."
    )


def test_an_improvement_that_is_not_shown_says_so():
    assert "? Not shown: 50.0% → 55.0% on 60 test examples" in page(histories.not_shown()).text


def test_best_and_baseline_have_interval_examples_and_combination():
    text = page(histories.finished()).text
    assert "best on validation 64.0% 54.2% to 72.8% 100 trial 5: instruction 1, demos 4" in text
    assert "baseline on validation 25.0% 17.5% to 34.4% 100 trial 0: instruction 0, demos 0" in text


def test_cost_and_settings_are_told():
    text = page(histories.finished()).text
    assert "960 calls, 1 cached, 152,400 + 5,520 tokens, $0.1983; 1 min 46 s" in text
    assert (
        "16 trials; task_model=local/smollm2-135m, prompt_model=local/smollm2-135m, auto=light, search=mipro, " in text
    )
    assert "seed=9, init_temperature=1.0, 40 training examples, 100 validation examples, 60 test examples" in text


def test_the_winning_instruction_is_beside_the_original_word_by_word():
    source = static.frozen(histories.finished())["text/html"]
    assert re.search(r"<i style=[^>]*>Route</i> the ", source)
    assert re.search(r"<b style=[^>]*>You are</b> the ", source)
    whole = re.sub(r"<[^>]*>", "", source)
    assert html.escape(histories.PROPOSED[0]) in whole


def test_the_demos_of_the_winner_are_shown():
    text = page(histories.finished()).text
    assert "Its demos: set 4, student, 2 demos" in text
    assert "1 message: I was charged twice this month. team: billing 2 message: The app closes" in text


def test_candidates_are_listed_with_the_winner_first():
    text = page(histories.finished()).text
    start = text.index("Instructions (4)")
    assert text.index("1 ★ best 52.7% 45.8% to 59.5% 205 5 proposed, simple You are", start) > start
    assert "0 40.9% 34.7% to 47.3% 235 3 original Route the customer message" in text
    assert "4 ★ best 66.3%" in text[text.index("Demo sets (5)") :]
    assert "bootstrapped 3 demos, 3 bootstrapped. message: The app closes" in text


def test_fixed_and_broken_examples_are_counted_and_the_first_shown():
    text = page(histories.finished()).text
    assert "Validation examples, baseline against best: 49 fixed, 10 broken, 41 the same" in text
    assert "0 fixed message: Message 0: my parcel, my bill, my account. 0 1 Prediction(team='billing')" in text
    assert " broken message: Message 3: " in text


def test_notes_are_listed():
    assert "Notes (1) propose: a proposal that repeated the instruction was dropped." in page(histories.finished()).text


def test_it_ends_with_how_to_see_it_live():
    for name in ("finished", "stopped", "middle", "zero_shot"):
        assert page(histories.ALL[name]()).text.endswith(static.AGAIN)


def test_how_the_run_ended_is_told():
    assert page(histories.stopped()).text.startswith("MIPROv2 · Predict · stopped as asked ")
    failed = page(histories.failed()).text
    assert failed.startswith("MIPROv2 · Predict · failed LMUnavailable: the server doesn't answer")
    assert "best on validation" in failed
    assert page(histories.middle()).text.startswith("MIPROv2 · Predict · not finished ")
    assert page(histories.middle(), "kernel stopped").text.startswith("MIPROv2 · Predict · kernel stopped ")


def test_without_a_verdict_the_page_says_why():
    assert static.UNJUDGED in page(histories.stopped()).text
    assert static.UNTESTED in page(histories.failed_examples()).text


def test_a_run_that_found_nothing_better_keeps_the_original():
    text = page(histories.middle(2)).text
    assert "the original: Route the customer message" in text
    assert "Validation examples" not in text


def test_each_predictor_has_its_own_tables():
    text = page(histories.two_predictors()).text
    for words in ("Best instruction of", "Instructions of", "Demo sets of"):
        assert 0 < text.index(f"{words} steps[0].answer") < text.index(f"{words} judge")


def test_a_zero_shot_run_shows_no_demos():
    text = page(histories.zero_shot()).text
    assert "Its demos" not in text
    assert "Demo sets" not in text


def test_errors_of_examples_are_shown():
    scores = [1.0] * 20
    history = History(
        [
            histories.started(),
            *histories.propose(),
            *histories.trial(0, "baseline", (0,), (), [0.0] * 10 + [1.0] * 10),
            *histories.trial(1, "full", (1,), (), [*scores[:19], 0.0], errors={19: "ParseError: no field 'team'"}),
        ]
    )
    assert (
        "19 broken message: Message 19: my parcel, my bill, my account. 1 0 ParseError: no field 'team'"
        in page(history).text
    )


@pytest.mark.parametrize("make", [histories.empty, History])
def test_a_run_that_has_not_begun(make):
    assert page(make()).text == "The run has not begun."


@pytest.mark.parametrize("make", [histories.waiting, histories.bootstrapping, histories.proposing])
def test_before_the_first_trial_there_is_a_page(make):
    assert "No trial was fully evaluated." in page(make()).text


def test_numbers_of_a_metric_with_fractions():
    assert re.search(r"\d fixed message: .*? 0\.\d+ (0\.\d+|1) Prediction", page(histories.numeric()).text)


# ---- safe


@pytest.mark.parametrize("name", sorted(histories.ALL))
def test_the_page_holds_nothing_but_harmless_elements(name):
    found = page(histories.ALL[name]())
    assert found.tags <= ALLOWED
    assert not found.open
    for key, value in found.attributes:
        assert key == "style"
        assert HARMLESS.fullmatch(value)
        assert "url" not in value


@pytest.mark.parametrize("payload", histories.PAYLOADS)
def test_hostile_texts_are_shown_as_text(payload):
    events = histories.finished(15).events
    spoilt = History()
    for event in events:
        match event:
            case ev.InstructionProposed():
                event = ev.InstructionProposed(event.predictor, event.index, payload, event.origin, payload)
            case ev.DemosBootstrapped():
                demos = tuple({payload: payload} for _ in event.demos)
                event = ev.DemosBootstrapped(event.predictor, event.index, payload, demos, 1)
            case ev.ExampleScored():
                calls = histories.called(event.example, 1.0, payload)
                event = ev.ExampleScored(event.trial, event.example, event.score, payload, payload, payload, calls)
            case ev.RunFinished():
                event = ev.RunFinished(f"failed: {payload}")
        spoilt(event)
    found = page(spoilt)
    assert found.tags <= ALLOWED
    shown = " ".join(visible(payload).split())
    assert found.text.count(shown) >= 5


def test_hidden_characters_are_named_everywhere():
    bundle = static.frozen(histories.hostile())
    for text in bundle.values():
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f\x00\x07\x1b\ud800-\udfff]", text)
        text.encode()
    assert "⟨U+202E⟩" in bundle["text/plain"] + bundle["text/html"]


def test_texts_that_look_like_mathematics_stand_in_pre():
    source = static.frozen(histories.hostile())["text/html"]
    outside = re.sub(r"<pre[^>]*>.*?</pre>", "", source, flags=re.DOTALL)
    assert "$$" not in outside.replace(html.escape(cut(histories.PAYLOADS[5], 40)), "")


# ---- small


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: histories.large(200), lambda: histories.large(2000, 20)])
def test_the_page_stays_small(make):
    assert len(static.frozen(make())["text/html"].encode()) <= static.LARGEST


def test_texts_that_are_far_too_long_are_cut_and_say_so():
    texts = [histories.ORIGINAL, *("<&> " * 20_000 + str(n) for n in range(40))]
    events = [histories.started(), *histories.bootstrap(), *histories.propose(texts=texts)]
    history = History([*events, *histories.search(30, instructions=41)])
    bundle = static.frozen(history)
    assert len(bundle["text/html"].encode()) <= static.LARGEST
    assert re.search(r"… \([\d,]+ more of 80,00\d characters\)", bundle["text/html"])
    assert len(bundle["text/plain"]) < 3_000


@pytest.mark.slow
def test_three_runs_of_200_trials_stay_far_under_a_megabyte():
    history = histories.large(200)
    both = json.dumps([static.frozen(history), static.frozen_chart(history)], indent=1)
    assert 3 * len(both) < 750_000


# ---- the other displays


@pytest.mark.slow
def test_the_chart_is_drawn_by_jupyterlab_itself_or_is_a_picture():
    bundle = static.frozen_chart(histories.finished())
    assert set(bundle) == {"application/vnd.vegalite.v5+json", "image/png", "text/plain"}
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")


def test_plain_text_tells_the_end_and_the_winner():
    lines = static.frozen(histories.finished())["text/plain"].splitlines()
    assert lines[:3] == [
        "finished",
        "verdict: improved: 50.0% -> 73.3% on 60 test examples, +23.3 points [+5.0, +41.7], p = 0.024; "
        "24 fixed, 10 broken",
        "best 64.0% on 100 examples; baseline 25.0% on 100 examples",
    ]
    assert "best combination: instruction 1, demos 4" in lines
    assert f"instruction of self: {histories.PROPOSED[0]}" in lines


def test_plain_text_of_a_run_that_goes_on_tells_where_it_is():
    text = static.plain(histories.middle(), now=60.0)
    assert text.startswith("3/3 search, 9 of 9; this stage: ")
    assert "best combination: instruction 1, demos 4" in text
    assert static.plain(histories.empty(), now=0.0).startswith("preparing")


@pytest.mark.slow
def test_nbconvert_with_its_sanitizer_keeps_verdict_tables_and_picture():
    import nbformat
    from nbconvert import HTMLExporter

    history = histories.finished()
    outputs = [
        {"output_type": "display_data", "metadata": {}, "data": dict(bundle)}
        for bundle in (static.frozen(history), static.frozen_chart(history))
    ]
    source = {
        "cell_type": "code",
        "id": "a",
        "execution_count": 1,
        "metadata": {},
        "source": "view",
        "outputs": outputs,
    }
    notebook = nbformat.from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [source]})
    made, _ = HTMLExporter(sanitize_html=True, embed_images=True).from_notebook_node(notebook)
    for words in ("✓ Improved: 50.0% → 73.3%", "<td>best on validation</td><td>64.0%", "★", "<b>You are</b> the"):
        assert words in made
    assert "data:image/png;base64," in made
    own = made[made.index("MIPROv2 ·") : made.index("Show `view`")]
    assert set(re.findall(r"&lt;(/?\w+)", own)) <= {"tbody", "/tbody"}  # that its parser puts into any table


def test_tables_have_widths_of_their_own_so_that_no_word_makes_them_wider():
    """In a notebook that isn't trusted a word without an end can't be broken else."""
    source = static.frozen(histories.finished())["text/html"]
    assert source.count("<table") == source.count("table-layout:fixed;width:100%")
    assert "overflow-wrap:break-word;word-break:normal" in source
    first = re.search(r"<table.*?</tr>", source)[0]
    assert re.findall(r"width:([\d.]+)em", first.partition(">")[2])

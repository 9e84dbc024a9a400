import pytest
from programs import TwoSteps, fake, is_proposal, reply, rows

import mipro_nb as mn
from mipro_nb import events as ev
from mipro_nb.bootstrap import DemoSet
from mipro_nb.errors import LMRefused, LMUnavailable
from mipro_nb.feedback import Failure, Feedback, Scored
from mipro_nb.grounding import Grounding
from mipro_nb.learning import TIPS, Approach, Levels
from mipro_nb.pool import Pool
from mipro_nb.propose import Ask
from mipro_nb.testing import EventRecorder


def demos(predictor="self"):
    trace = mn.Example(q="item 1", a="answer 1")
    return [
        DemoSet("none", {predictor: ()}, {predictor: 0}),
        DemoSet("bootstrapped", {predictor: (trace,)}, {predictor: 1}),
    ]


def propose(count=3, *, replies=reply, program=None, sets=None, previous=None, seed=0, **grounding):
    lm, recorder = fake(replies=replies, num_retries=0), EventRecorder()
    proposer = mn.GroundedProposer(lm, Grounding(**grounding), seed=seed)
    program = program or mn.Predict("q -> a")
    with Pool(2, emit=recorder) as pool:
        found = proposer.propose(program, rows(12), demos() if sets is None else sets, count, pool, previous)
    return found, lm, recorder


def proposals(lm):
    return [prompt[-1]["content"] for prompt in lm.prompts if is_proposal(prompt)]


def test_candidate_0_is_the_programs_own_and_costs_no_call():
    found, lm, recorder = propose(count=1)
    assert found == {"self": [mn.Signature("q -> a").instructions]}
    assert lm.calls == 0
    assert recorder.of(ev.InstructionProposed)[0].origin == "original"


def test_proposals_are_grounded_in_data_program_demos_and_tip():
    _, lm, _ = propose()
    for prompt in proposals(lm):
        for part in (
            "dataset_description: It is about",
            "program_code: program = Predict(",
            "program_description: ",
            "module: ",
        ):
            assert part in prompt
        assert "task_demos: q: item 1; a: answer 1" in prompt
        assert "basic_instruction: Given the fields" in prompt
    assert sum("tip: " in prompt for prompt in proposals(lm)) >= 1


@pytest.mark.parametrize(
    ("switch", "gone"),
    [
        ("data_aware", "dataset_description"),
        ("program_aware", "program_code"),
        ("tip_aware", "tip: "),
        ("fewshot_aware", "task_demos"),
    ],
)
def test_each_switch_takes_its_part_away(switch, gone):
    _, lm, _ = propose(**{switch: False})
    assert proposals(lm)
    assert not any(gone in prompt for prompt in proposals(lm))


def test_without_demos_the_program_is_described_without_demos():
    _, lm, _ = propose(fewshot_aware=False)
    assert not any("item 1; a: answer 1" in m["content"] for p in lm.prompts for m in p if is_description_of_program(p))


def is_description_of_program(prompt):
    return "Say what task it solves" in prompt[0]["content"]


def test_an_empty_instruction_and_no_grounding_still_ask():
    off = dict.fromkeys(("data_aware", "program_aware", "tip_aware", "fewshot_aware"), False)
    found, _, _ = propose(program=mn.Predict("q -> a", ""), **off)
    assert len(found["self"]) > 1


def test_previous_instructions_are_shown_with_their_scores():
    _, lm, _ = propose(previous={"self": [("Try hard.", 0.5), ("Try.", 0.25)]})
    assert "previous_instructions: Try. (score 25.0%)\nTry hard. (score 50.0%)" in proposals(lm)[0]


def test_descriptions_of_the_program_are_made_once():
    _, lm, _ = propose(count=6)
    described = [p for p in lm.prompts if "Say what task it solves" in p[0]["content"]]
    assert len(described) == 1


def test_the_same_seed_asks_the_same_questions_and_tips_vary():
    assert sorted(proposals(propose(count=8)[1])) == sorted(proposals(propose(count=8)[1]))
    tips = {e.tip for seed in range(6) for e in propose(count=4, seed=seed)[2].of(ev.InstructionProposed) if e.tip}
    assert len(tips) > 3
    assert tips <= set(TIPS)


def test_an_unusable_reply_is_asked_for_again_then_dropped_and_said():
    found, lm, recorder = propose(replies=lambda m: "" if is_proposal(m) else "text")
    assert len(found["self"]) == 1
    assert len(proposals(lm)) == 4
    assert [note.message for note in recorder.of(ev.Noted)].count(
        "self, instruction 1: the reply held no instruction; asked again"
    ) == 1


def test_a_second_try_can_succeed():
    replies = iter(["", "Answer well.", "Answer better."])
    found, _, recorder = propose(replies=lambda m: next(replies) if is_proposal(m) else "text")
    assert sorted(found["self"][1:]) == ["Answer better.", "Answer well."]
    assert [e.index for e in recorder.of(ev.InstructionProposed)] == [0, 1, 2]


def test_the_same_instruction_twice_is_one_candidate():
    found, _, recorder = propose(count=4, replies=lambda m: "Instruction: Answer.")
    assert found["self"][1:] == ["Answer."]
    assert any("same as another" in note.message for note in recorder.of(ev.Noted))


def test_an_outage_of_the_prompt_model_leaves_the_run_with_what_it_has():
    def replies(messages):
        raise LMUnavailable("down")

    found, _, recorder = propose(replies=replies)
    assert len(found["self"]) == 1
    assert any("LMUnavailable: down" in note.message for note in recorder.of(ev.Noted))


def test_a_refused_key_ends_the_run():
    def replies(messages):
        raise LMRefused("refuses the key")

    with pytest.raises(LMRefused):
        propose(replies=replies)


def test_every_predictor_gets_its_own():
    program = TwoSteps()
    names = [name for name, _ in program.named_predictors()]
    empty = [DemoSet("none", dict.fromkeys(names, ()), dict.fromkeys(names, 0))]
    found, lm, _ = propose(program=program, sets=empty)
    assert list(found) == ["hint", "answer"]
    assert all(len(texts) == 3 for texts in found.values())
    assert any("module: hint = Predict('q: str -> hint: str')" in prompt for prompt in proposals(lm))
    assert all("class TwoSteps" in prompt for prompt in proposals(lm))


def test_usage_is_told():
    _, lm, recorder = propose()
    assert sum(event.usage.calls for event in recorder.of(ev.LMUsed)) == lm.calls


FEEDBACK = Feedback(
    2,
    {"self": ["Given the fields `q`, produce the fields `a`.", "Answer with care.", "Answer."]},
    {"self": [Scored(1, 0.8, 0.7, 0.9, 30), Scored(2, 0.7, 0.6, 0.8, 30)]},
    {"self": [Failure(1, "q: item 3", "no idea", "a: answer 3", "", "give the number")]},
)


def again(*approaches, replies=reply, feedback=FEEDBACK, first=2, keep=(), threads=2, **grounding):
    """Stage 2, then a later round; return what it brought, its prompts, and the events of both."""
    lm, recorder = fake(replies=replies, num_retries=0), EventRecorder()
    proposer = mn.GroundedProposer(lm, Grounding(**grounding), keep=keep)
    program = mn.Predict("q -> a")
    with Pool(threads, emit=recorder) as pool:
        proposer.propose(program, rows(12), demos(), first, pool)
        before = lm.calls
        asks = [Ask("self", how, number) for number, how in enumerate(approaches)]
        found = proposer.again(program, demos(), asks, feedback, pool)
    return found, lm.prompts[before:], recorder


def how(kind, tip="simple", temperature=0.7, summary=True, shown=True):
    return Approach(kind, tip, temperature, summary, shown)


def test_stage_2_tells_how_it_asked():
    events = propose(data_aware=False)[2].of(ev.InstructionProposed)
    assert {(e.kind, e.temperature, e.summary, e.demos, e.round) for e in events[1:]} == {
        ("fresh", 1.0, False, True, 0)
    }
    assert (events[0].kind, events[0].temperature, events[0].summary) == ("", None, None)


def test_a_later_round_asks_for_each_kind_as_it_should():
    found, prompts, recorder = again(how("fresh"), how("rewrite"), how("combine"), how("fix"), threads=1)
    said = [prompt[-1]["content"] for prompt in prompts]
    assert len(prompts) == 4  # nothing is gathered again
    assert all(is_proposal(prompt) for prompt in prompts)
    assert "previous_instructions: Answer. (score 70.0% on 30 examples)" in said[0]
    assert "program_code: " in said[0]
    assert "tried_instructions: Answer." in said[1]
    assert "first_instruction: " in said[2]
    assert "given: q: item 3\nreturned: no idea\nexpected: a: answer 3\nfeedback: give the number" in said[3]
    assert "present_instruction: Answer with care. (score 80.0% on 30 examples)" in said[3]
    assert all("dataset_description: It is about" in text and "tip: Keep the new" in text for text in said)
    assert all("program_code" not in text and "basic_instruction" not in text for text in said[1:])
    told = recorder.of(ev.InstructionProposed)[-4:]
    assert [e.origin for e in told] == ["proposed", "rewritten", "combined", "fixed"]
    assert [e.index for e in told] == [one.index for one in found] == [3, 4, 5, 6]
    assert [e.round for e in told] == [2] * 4
    assert sorted(told[2].parents) == [1, 2]
    assert told[3].parents == (1,)


def test_an_approach_decides_what_is_shown_and_the_switches_allow_it():
    said = [prompt[-1]["content"] for prompt in again(how("rewrite", "none", 1.3, False, False))[1]]
    assert not any(part in said[0] for part in ("dataset_description", "task_demos", "tip: "))
    assert "task_demos: q: item 1" in again(how("rewrite"))[1][0][-1]["content"]
    assert "task_demos" not in again(how("rewrite"), fewshot_aware=False)[1][0][-1]["content"]


def test_what_may_be_chosen_follows_the_switches():
    assert mn.GroundedProposer().levels == Levels(temperature=(1.0, 0.7, 1.3))
    off = Grounding(data_aware=False, tip_aware=False, fewshot_aware=False)
    found = mn.GroundedProposer(grounding=off, init_temperature=0.5).levels
    assert (found.tip, found.summary, found.demos) == (("none",), (False,), (False,))
    assert found.temperature == (0.5, 0.35, 0.65)


def test_a_kind_that_has_nothing_to_work_on_is_told_as_what_it_was():
    bare = Feedback(1, {"self": ["Own."]}, {}, {})
    (found,), _, recorder = again(how("fix"), feedback=bare)
    assert found.approach.kind == "fresh"
    assert recorder.of(ev.InstructionProposed)[-1].origin == "proposed"


def test_a_later_round_after_a_run_without_proposals_gathers_first():
    _, prompts, _ = again(how("fresh"), first=1)
    assert "dataset_description: It is about" in prompts[-1][-1]["content"]


def test_what_a_run_knows_already_is_dropped_and_a_round_may_bring_nothing():
    found, prompts, recorder = again(how("fix"), replies=lambda m: "Answer." if is_proposal(m) else "text")
    assert found == []
    assert len(prompts) == 2
    assert recorder.of(ev.Noted)[-1].message == "self, round 2, fix: it is the same as another candidate"


def test_every_instruction_but_the_programs_own_holds_what_must_be_kept():
    found, prompts, recorder = again(how("fix"), keep=("Name no prices.",))
    texts = [e.text for e in recorder.of(ev.InstructionProposed)]
    assert "Name no prices." not in texts[0]
    assert all(text.endswith("\nName no prices.") for text in texts[1:])
    assert found[0].text == texts[-1]
    assert "must_keep: Name no prices." in prompts[-1][-1]["content"]
    assert "each line of must_keep, word for word" in prompts[-1][0]["content"]

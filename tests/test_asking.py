import time

import pytest

from mipro_nb import context
from mipro_nb import events as ev
from mipro_nb.asking import Wanted, ask_for
from mipro_nb.errors import LMRefused, LMUnavailable
from mipro_nb.learning import Approach
from mipro_nb.pool import Pool
from mipro_nb.testing import EventRecorder, FakeLM

APPROACH = Approach("fix", "simple", 0.7, True, False)


def wanted(count=1, approach=APPROACH):
    return [Wanted("self", f"self, {n}", approach, "Mend.", {"seen": str(n)}, n, 2, (1,)) for n in range(count)]


def ask(replies, count=1, threads=1, keep=(), known=("Do.",)):
    lm, recorder = FakeLM(replies, num_retries=0), EventRecorder()
    with Pool(threads, emit=recorder) as pool, context(lm=lm):
        found = ask_for(wanted(count), {"self": list(known)}, pool, keep)
    return found, lm, recorder


def notes(recorder):
    return [note.message for note in recorder.of(ev.Noted)]


def test_what_is_proposed_is_told_with_how_it_was_asked_for():
    found, lm, recorder = ask(["Instruction: Do it well."])
    assert [(one.index, one.text) for one in found] == [(1, "Do it well.")]
    assert recorder.of(ev.InstructionProposed) == [
        ev.InstructionProposed("self", 1, "Do it well.", "fixed", "simple", 2, "fix", 0.7, True, False, (1,))
    ]
    assert lm.sampling[0]["temperature"] == 0.7


def test_the_order_is_that_of_the_asking_whatever_the_number_of_threads():
    def reply(messages):
        number = int(messages[-1]["content"].split()[-1])
        time.sleep(0.02 * (4 - number))
        return f"Do {number} well."

    found = [[(one.index, one.text) for one in ask(reply, 4, threads)[0]] for threads in (1, 4)]
    assert found[0] == found[1] == [(n + 1, f"Do {n} well.") for n in range(4)]


def test_a_reply_of_no_use_is_asked_for_once_more_and_said():
    found, _, recorder = ask(["", "Do it."])
    assert [one.text for one in found] == ["Do it."]
    assert notes(recorder) == ["self, 0: the reply held no instruction; asked again"]
    assert ask(["", ""])[0] == []


def test_what_is_known_is_no_proposal():
    found, _, recorder = ask(["do.", "DO."])
    assert found == []
    assert all("same as another candidate" in note for note in notes(recorder))


def test_an_outage_ends_nothing_and_a_refused_key_does():
    def down(messages):
        raise LMUnavailable("down")

    def refused(messages):
        raise LMRefused("no key")

    found, _, recorder = ask(down)
    assert found == []
    assert "LMUnavailable: down" in notes(recorder)[0]
    with pytest.raises(LMRefused):
        ask(refused)


def test_what_must_be_kept_is_put_back_and_said():
    found, _, recorder = ask(["Do it.", "Do it. Be kind."], 2, keep=("Be kind.",))
    assert [one.text for one in found] == ["Do it.\nBe kind.", "Do it. Be kind."]
    assert notes(recorder) == ["self, 0: it lacked what must be kept, which was added: 'Be kind.'"]


def test_a_long_reply_is_cut_before_what_must_be_kept_is_put_back():
    (found,), _, recorder = ask(["Do it. " * 1_000], keep=("Be kind.",))
    assert found.text.endswith("Do it.\nBe kind.")
    assert "was cut; it lacked" in notes(recorder)[0]


def test_untrusted_text_stays_text():
    (found,), _, _ = ask(["<script>alert(1)</script> Do it {seen}."])
    assert "{seen}" in found.text

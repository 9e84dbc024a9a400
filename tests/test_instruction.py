import pytest

from mipro_nb.instruction import LONGEST_INSTRUCTION, cut_text, keeping, usable


@pytest.mark.parametrize(
    "reply",
    [
        "Name the product in the message.",
        "Instruction: Name the product in the message.",
        "**Proposed Instruction:** Name the product in the message.",
        "Sure! Here is the new instruction:\n\nName the product in the message.",
        'Here\'s an improved instruction: "Name the product in the message."',
        "```\nName the product in the message.\n```",
        "Certainly, I can help.\n```text\nName the product in the message.\n```\nLet me know!",
        "<pre><code>\nName the product in the message.</code></pre>",
        "> Name the product in the message.",
        "'Name the product in the message.'",
        "Name the product in the message. (score 57.3% on 16 examples)",
        "Name the product (score 57.3% on 16 examples) in the message. Score 40.0% on 8 examples",
    ],
)
def test_the_instruction_is_taken_out_of_chatter(reply):
    assert usable(reply) == ("Name the product in the message.", "")


@pytest.mark.parametrize(
    "text",
    [
        "Route the message: billing, bug, account or shipping.",
        "Read the message. Rules: 1. name one product; 2. no other word.",
        "As an AI assistant of a shop, name the product.",
        "Sort the message into a team; the teams are: billing, bug.",
        "Nenne das Gerät: 製品名だけ。",
    ],
)
def test_an_instruction_with_a_colon_or_a_persona_is_kept_whole(text):
    assert usable(text) == (text, "")


@pytest.mark.parametrize("reply", ["", "   \n", "...", "12345", "``` ```", "**", "\x00\x01", "Instruction:"])
def test_an_empty_reply_is_dropped_and_said(reply):
    assert usable(reply) == ("", "the reply held no instruction")


@pytest.mark.parametrize(
    "reply",
    ["I'm sorry, but I can't help with that.", "I cannot assist.", "As an AI language model, I am unable to do so."],
)
def test_a_refusal_is_dropped_and_said(reply):
    text, why = usable(reply)
    assert text == ""
    assert "refusal" in why


def test_a_reply_of_50000_characters_is_cut_at_a_sentence():
    text, why = usable("Name the product. " * 3000)
    assert text.endswith("product.")
    assert len(text) <= LONGEST_INSTRUCTION
    assert "54,000 characters was cut" in why


@pytest.mark.parametrize("junk", ["<a " * 17_000, "#" * 50_000, " x" * 25_000, "```\n" * 12_000, "<b>" * 16_000])
def test_long_garbage_is_read_without_delay(junk):
    text, _ = usable(junk)
    assert len(text) <= LONGEST_INSTRUCTION + len(" [...]")


def test_cut_text_marks_a_cut_inside_a_sentence():
    assert cut_text("one two three", 9) == "one two [...]"
    assert cut_text("short", 9) == "short"


def test_what_an_instruction_must_keep_is_put_back_word_for_word():
    assert keeping("Answer.", ["Name no prices.", "Never guess."]) == "Answer.\nName no prices.\nNever guess."
    assert keeping("Answer. Name no prices. Be kind.", ["Name no prices."]) == "Answer. Name no prices. Be kind."
    assert keeping("Answer. name no prices.", ["Name no prices."]) == "Answer. name no prices.\nName no prices."
    assert keeping("", ["Two\nlines."]) == "Two\nlines."
    assert keeping("Answer.", []) == "Answer."

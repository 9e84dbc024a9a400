import itertools
import random

import pytest

from mipro_nb.notebook.worddiff import MOST_PAIRS, word_diff


def sides(parts):
    old = "".join(text for op, text in parts if op != "add")
    new = "".join(text for op, text in parts if op != "del")
    return old, new


def test_a_word_is_shown_as_replaced():
    assert word_diff("Name the team.", "Name one team.") == [
        ("same", "Name "),
        ("del", "the"),
        ("add", "one"),
        ("same", " team."),
    ]


def test_the_same_text_is_one_part():
    assert word_diff("Name it.", "Name it.") == [("same", "Name it.")]
    assert word_diff("", "") == []


def test_a_text_that_is_new_or_gone():
    assert word_diff("", "All new.") == [("add", "All new.")]
    assert word_diff("All gone.", "") == [("del", "All gone.")]


def test_what_is_added_at_the_end_is_all_that_differs():
    assert word_diff("Name the team.", "Name the team. Be brief.") == [
        ("same", "Name the team."),
        ("add", " Be brief."),
    ]


def test_line_breaks_and_spaces_are_kept():
    parts = word_diff("a  b\n\tc", "a b\n\tc")
    assert sides(parts) == ("a  b\n\tc", "a b\n\tc")
    assert parts[-1] == ("same", "b\n\tc")


WORDS = [
    "the",
    "team",
    "Team",
    " ",
    "  ",
    "\n",
    "\t",
    ".",
    ", ",
    "don't",
    "é",
    "e\u0301",
    "日本",
    "🫖",
    "\u202e",
    "\ud800",
    "\0",
    "<b>",
]


@pytest.mark.parametrize("seed", range(300))
def test_both_texts_can_be_read_off_exactly(seed):
    rng = random.Random(seed)
    old = [rng.choice(WORDS) for _ in range(rng.randrange(30))]
    new = [word if rng.random() < 0.7 else rng.choice(WORDS) for word in old if rng.random() < 0.9]
    texts = "".join(old), "".join(new)
    parts = word_diff(*texts)
    assert sides(parts) == texts
    assert all(text for _, text in parts)
    assert {op for op, _ in parts} <= {"same", "del", "add"}
    assert all(first != second for (first, _), (second, _) in itertools.pairwise(parts) if first == "same")


def test_long_texts_of_few_words_are_replaced_whole_but_for_their_ends():
    rng = random.Random(0)
    count = int(MOST_PAIRS**0.5) * 2
    old, new = (" ".join(rng.choice("ab") for _ in range(count)) for _ in range(2))
    parts = word_diff(f"Begin. {old} End.", f"Begin. {new} End.")
    assert sides(parts) == (f"Begin. {old} End.", f"Begin. {new} End.")
    assert len(parts) <= 4
    assert parts[0][0] == parts[-1][0] == "same"


def test_a_change_in_a_text_of_50_kb_is_found():
    text = "Read the customer message and name the team that can solve it. " * 800
    new = text[:20_000] + "really " + text[20_000:]
    assert sum(len(part) for op, part in word_diff(text, new) if op == "add") <= 20

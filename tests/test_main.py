import pytest
from programs import is_description, is_proposal

import mipro_nb.__main__ as command
from mipro_nb.data import split
from mipro_nb.demo import messages
from mipro_nb.testing import FakeLM

PRODUCTS = {row["product"] for row in messages()}


def extract(prompt):
    """A model that needs demos to answer with the product alone."""
    if is_proposal(prompt) or is_description(prompt):
        return f"Name the product, try {len(str(prompt)) % 7}."
    words = prompt[-1]["content"].lower().replace(",", " ").replace(".", " ").replace("?", " ").split()
    found = next((word for word in words if word in PRODUCTS), "nothing")
    return f"product: {found}" if len(prompt) > 2 else f"It is about the {found}, I think."


def make_lm(*arguments, **options):
    return FakeLM(extract)


@pytest.mark.slow
def test_the_demo_prints_baseline_optimized_verdict_and_path(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "LM", make_lm)
    assert command.main(["demo", "--save", str(tmp_path / "program")]) == 0
    out = capsys.readouterr().out
    for words in (
        "Baseline on the sealed test set:",
        "Optimized on the sealed test set:",
        "Verdict: improved",
        "Demos (",
        "Instruction: ",
    ):
        assert words in out
    assert (tmp_path / "program.json").is_file()


def test_the_demo_interrupted_after_stage_1_prints_the_best_so_far(tmp_path, monkeypatch, capsys):
    def interrupted(prompt):
        if is_proposal(prompt) or is_description(prompt):
            raise KeyboardInterrupt
        return extract(prompt)

    monkeypatch.setattr(command, "LM", lambda *a, **k: FakeLM(interrupted))
    assert command.main(["demo", "--save", str(tmp_path / "program")]) == 0
    out = capsys.readouterr().out
    assert "Best so far: not evaluated yet" in out
    assert "interrupted" in out
    assert (tmp_path / "program.json").is_file()


def test_an_error_is_one_line(monkeypatch, capsys):
    assert command.main(["demo", "--model", "local/nothing"]) == 1
    assert "LMError" not in capsys.readouterr().out


def test_a_missing_command_is_explained(capsys):
    with pytest.raises(SystemExit):
        command.main([])
    assert "demo" in capsys.readouterr().err


def test_the_data_set_is_what_it_says():
    rows = messages()
    texts = [row["message"] for row in rows]
    assert len(rows) >= 200
    assert len(set(texts)) == len(texts)
    for row in rows:
        words = "".join(c if c.isalnum() else " " for c in row["message"].lower()).split()
        assert [word for word in words if word in PRODUCTS] == [row["product"]], row
    teams = [row["team"] for row in messages("team")]
    assert {team: teams.count(team) for team in teams} == dict.fromkeys(("account", "shipping", "billing", "bug"), 66)


def test_the_splits_of_the_demo_do_not_overlap():
    parts = split(messages(), 0.2, 0.4, 0.4, stratify="product", seed=0)
    assert [len(part) for part in parts] == [53, 105, 106]
    assert len({row["message"] for part in parts for row in part}) == 264

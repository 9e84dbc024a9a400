import json
import os

import pydantic
import pytest

from mipro_nb import LM, Example, Predict, Signature, configure, load
from mipro_nb.errors import LoadError, MiproError
from mipro_nb.saving import FORMAT, FORMAT_VERSION, read_program
from mipro_nb.testing import FakeLM

KEY = "sk-very-secret-0123456789"


def saved(tmp_path, name="best"):
    return Predict("q -> a", "Do.", demos=[Example(q="1", a="2")]).save(tmp_path / name)


@pytest.mark.parametrize(
    ("given", "written"), [("best", "best.json"), ("best.json", "best.json"), ("best.v1", "best.v1.json")]
)
def test_the_suffix_is_added_where_it_is_missing(tmp_path, given, written):
    assert saved(tmp_path, given) == tmp_path / written
    assert os.listdir(tmp_path) == [written]
    for name in (given, written):
        assert load(str(tmp_path / name)).signature.instructions == "Do."


def test_the_file_says_what_it_is_and_can_be_read_by_people(tmp_path):
    path = Predict("q -> a", "Prüfe 🫖.").save(tmp_path / "best")
    text = path.read_text(encoding="utf-8")
    found = json.loads(text)
    assert (found["format"], found["format_version"], found["program"]) == (FORMAT, FORMAT_VERSION, "Predict")
    assert set(found["versions"]) >= {"python", "mipro_nb", "pydantic"}
    assert "Prüfe 🫖." in text


def test_no_key_is_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    lm = LM("openai/gpt-5-mini", api_key=KEY, api_base=f"https://{KEY}@example.org", cache=False)
    configure(lm=lm)
    path = Predict("q -> a", lm=lm).save(tmp_path / "best")
    assert KEY not in path.read_text(encoding="utf-8")
    assert json.loads(path.read_text())["lm"] == "openai/gpt-5-mini"


def test_a_save_that_fails_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = saved(tmp_path)
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *names: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        Predict("q -> a", "Other.").save(path)
    assert path.read_bytes() == before


def test_a_save_replaces_the_file_before(tmp_path):
    saved(tmp_path)
    Predict("q -> a", "Other.").save(tmp_path / "best")
    assert load(tmp_path / "best").signature.instructions == "Other."
    assert os.listdir(tmp_path) == ["best.json"]


def test_a_file_that_an_editor_gave_a_bom_is_read(tmp_path):
    path = saved(tmp_path)
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert load(path).demos == [Example(q="1", a="2")]


def test_a_missing_file_says_the_nearest(tmp_path):
    saved(tmp_path, "router")
    with pytest.raises(LoadError, match=r"ruoter.json doesn't exist. Did you mean 'router.json'\?"):
        load(tmp_path / "ruoter")
    with pytest.raises(LoadError, match="doesn't exist"):
        load(tmp_path / "no" / "such" / "folder")


@pytest.mark.parametrize(
    "content",
    [b"", b"no json", b"\x80\x04\x95pickle", b'{"format": ', b"[" * 100_000, "{é}".encode("latin-1")],
    ids=range(6),
)
def test_what_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(LoadError, match=r"a.json can't be read as JSON"):
        load(tmp_path / "a")


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(LoadError, match="can't be read as JSON"):
        load(tmp_path / "a.json")


@pytest.mark.parametrize("content", ["[]", "3", "null", "{}", '{"format": "dspy"}', '{"predictors": {}}'])
def test_json_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(LoadError, match="is no program saved by mipro_nb"):
        load(tmp_path / "a.json")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format_version_is_refused(tmp_path, version):
    path = saved(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": version}))
    with pytest.raises(LoadError, match=f"has format version {version!r}; this mipro_nb reads 1"):
        load(path)


def edit(state, keys, value):
    *path, last = keys
    for key in path:
        state = state[key]
    if value is KeyError:
        del state[last]
    else:
        state[last] = value


SELF = ("predictors", "self")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("predictors",), KeyError),
        (("predictors",), []),
        (("predictors",), {"self": 3}),
        (("program",), KeyError),
        (("program",), 3),
        ((*SELF, "demos"), KeyError),
        ((*SELF, "extra"), 1),
        ((*SELF, "kind"), "os.system"),
        ((*SELF, "kind"), ["Predict"]),
        ((*SELF, "demos"), 3),
        ((*SELF, "demos"), ["text"]),
        ((*SELF, "demos"), [{"_class": 1}]),
        ((*SELF, "signature"), []),
        ((*SELF, "signature", "name"), KeyError),
        ((*SELF, "signature", "instructions"), 3),
        ((*SELF, "signature", "fields"), []),
        ((*SELF, "signature", "fields"), [3]),
        ((*SELF, "signature", "fields", 0, "type"), "__import__('os').getcwd()"),
        ((*SELF, "signature", "fields", 0, "type"), 3),
        ((*SELF, "signature", "fields", 0, "kind"), "both"),
        ((*SELF, "signature", "fields", 0, "name"), "__class__"),
        ((*SELF, "signature", "models"), 3),
        ((*SELF, "signature", "models"), {"A": 3}),
        ((*SELF, "signature", "models"), {"A": {"doc": None, "fields": {"x": {"type": "B"}}}}),
        (
            (*SELF, "signature", "models"),
            {"A": {"doc": None, "fields": {"x": {"type": "str", "rules": {"pattern": "("}}}}},
        ),
        ((*SELF, "signature", "models"), {"A": {"doc": None, "fields": {"x": {"type": "int", "rules": {"gt": "z"}}}}}),
    ],
    ids=range(26),
)
def test_a_damaged_file_is_refused_by_name(tmp_path, keys, value):
    path = saved(tmp_path)
    state = json.loads(path.read_text())
    edit(state, keys, value)
    path.write_text(json.dumps(state))
    with pytest.raises(LoadError, match=r"best.json is damaged"):
        read_program(path)
    program = Predict("q -> a", "Mine.")
    with pytest.raises(MiproError):
        program.load(path)
    assert program.signature.instructions == "Mine."


class Ticket(pydantic.BaseModel):
    title: str
    tags: set[str] = set()


def test_demos_of_models_come_back_as_models_and_the_lm_is_named(tmp_path):
    demo = Example(q="x", ticket=Ticket(title="leak", tags={"b", "a", "c"}))
    program = Predict(Signature("q -> ticket: Ticket"), demos=[demo], lm=FakeLM([], model="fake/own"))
    path = program.save(tmp_path / "program")
    own = Predict(Signature("q -> ticket: Ticket")).load(path)
    assert own.demos == [demo]
    assert json.loads(path.read_text())["predictors"]["self"]["lm"] == "fake/own"
    rebuilt = load(path)
    assert rebuilt.demos[0]["ticket"].tags == {"a", "b", "c"}
    assert rebuilt.messages(q="y") == program.messages(q="y")


def test_sets_are_written_in_one_order():
    program = Predict(
        Signature("q -> ticket: Ticket"), demos=[Example(q="x", ticket=Ticket(title="t", tags=set("cba")))]
    )
    assert '["a", "b", "c"]' in program.messages(q="y")[2]["content"]

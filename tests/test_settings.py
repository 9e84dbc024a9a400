import threading

import pytest

from mipro_nb import LM, configure, context
from mipro_nb.errors import ConfigError
from mipro_nb.settings import Settings, sampling, sampling_in_force, settings
from mipro_nb.testing import FakeLM

ONE, TWO = FakeLM([], model="fake/one"), FakeLM([], model="fake/two")


def test_configure_changes_what_it_names_and_keeps_the_rest():
    configure(lm=ONE)
    configure(num_threads=3)
    configure()
    assert settings() == Settings(lm=ONE, num_threads=3, progress=False)
    configure(lm=None)
    assert settings().lm is None


def test_an_lm_may_be_given_by_its_name():
    configure(lm="openai/gpt-5-mini")
    assert isinstance(settings().lm, LM)
    assert settings().lm.model == "openai/gpt-5-mini"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ml": ONE}, "setting 'ml' is not known; accepted: lm, num_threads, progress. Did you mean 'lm'"),
        ({"num_thread": 2}, "Did you mean 'num_threads'"),
        ({"lm": 3}, r"lm=3: an LM or a model's name is needed, as in lm=mipro_nb.LM\("),
        ({"lm": LM}, "an LM or a model's name is needed"),
        ({"lm": " "}, "model=' '"),
        ({"num_threads": 0}, "num_threads=0: a whole number of 1 or more is needed"),
        ({"num_threads": "4"}, "num_threads='4'.*Nearest valid: 4"),
    ],
)
@pytest.mark.parametrize("change", [configure, lambda **changes: context(**changes).__enter__()])
def test_a_wrong_setting_changes_nothing(changes, said, change):
    before = settings()
    with pytest.raises(ConfigError, match=said):
        change(**changes)
    assert settings() == before


def test_contexts_nest_and_end_also_when_they_fail():
    configure(lm=ONE, num_threads=1)
    with context(lm=TWO):
        with context(num_threads=5):
            assert settings() == Settings(TWO, 5, False)
        assert settings() == Settings(TWO, 1, False)
        with pytest.raises(ZeroDivisionError), context(lm=None):
            _ = 1 / 0 if settings().lm is None else 0
        assert settings() == Settings(TWO, 1, False)
    assert settings() == Settings(ONE, 1, False)


def in_thread(work):
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join(10)
    return found[0]


def test_configure_counts_in_every_thread_and_a_context_in_its_own():
    configure(lm=ONE)
    with context(lm=TWO):
        assert in_thread(settings).lm is ONE
        assert settings().lm is TWO

    def inside():
        with context(lm=TWO):
            return settings().lm

    assert in_thread(inside) is TWO
    assert settings().lm is ONE


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        settings().lm = TWO


def test_sampling_options_add_up_inside_and_end():
    with sampling(temperature=0.5):
        with sampling(rollout=3, temperature=0.9):
            assert sampling_in_force() == {"temperature": 0.9, "rollout": 3}
        assert sampling_in_force() == {"temperature": 0.5}
    assert sampling_in_force() == {}

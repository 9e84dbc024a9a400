"""``import mipro_nb`` is light, and what it promises is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mipro_nb

HEAVY = ("litellm", "optuna", "pandas", "altair", "ipywidgets", "numpy", "rich", "IPython", "xllamacpp", "scipy")


def loaded_by(code: str) -> list[str]:
    shown = f"import sys; {code}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    return subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True).stdout.split()


def test_import_loads_nothing_heavy() -> None:
    assert not set(HEAVY) & set(loaded_by("import mipro_nb"))


@pytest.mark.slow
def test_the_names_load_no_client_search_or_notebook() -> None:
    found = loaded_by("import mipro_nb as mn; mn.MIPROv2; mn.Predict('a -> b'); mn.LM('openai/x', cache=False)")
    assert "pydantic" in found
    assert not {"litellm", "optuna", "pandas", "altair", "ipywidgets"} & set(found)


@pytest.mark.parametrize("name", mipro_nb.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(mipro_nb, name) is not None
    assert name in dir(mipro_nb)


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match="Did you mean 'Predict'"):
        mipro_nb.Predikt  # noqa: B018

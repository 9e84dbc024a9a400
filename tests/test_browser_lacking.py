"""Where there is no browser the browser tests skip, and say why; where one is required they fail."""

import builtins

import lab
import pytest


@pytest.fixture
def no_chromium(monkeypatch):
    monkeypatch.setattr(lab.shutil, "which", lambda name: None)
    monkeypatch.delenv(lab.REQUIRED, raising=False)


def test_without_chromium_the_reason_is_told(no_chromium):
    with pytest.raises(pytest.skip.Exception, match="no Chromium on this machine: browser tests are skipped"):
        lab.browser_or_skip()


def test_where_a_browser_is_required_its_lack_is_a_failure(no_chromium, monkeypatch):
    monkeypatch.setenv(lab.REQUIRED, "required")
    with pytest.raises(pytest.fail.Exception, match="MIPRO_NB_BROWSER=required, but no Chromium"):
        lab.browser_or_skip()


@pytest.mark.parametrize("module", ["playwright", "jupyterlab"])
def test_a_missing_package_is_named(module, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == module:
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(lab.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.delenv(lab.REQUIRED, raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(pytest.skip.Exception, match=f"{module} is not installed"):
        lab.browser_or_skip()


def test_with_everything_there_nothing_happens(monkeypatch):
    monkeypatch.setattr(lab, "lacking", lambda: None)
    lab.browser_or_skip()

import io
import sys

from mipro_nb.console import console


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_standard_error_is_drawn_on(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert console().file is sys.stderr
    assert console().is_terminal


def test_in_a_pipe_lines_go_to_standard_output(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert console().file is sys.stdout
    assert not console().is_terminal


def test_in_a_kernel_that_calls_itself_a_terminal_lines_are_plain(monkeypatch):
    kernel_stream = type("OutStream", (Terminal,), {"__module__": "ipykernel.iostream"})
    monkeypatch.setattr(sys, "stderr", kernel_stream())
    monkeypatch.setattr(sys, "stdout", kernel_stream())
    assert console().file is sys.stdout
    assert not console().is_terminal

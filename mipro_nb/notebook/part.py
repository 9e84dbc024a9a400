"""Part: the anywidget that shows one part of a run, or all of it. It holds what the wire says, and passes on wishes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import anywidget
import traitlets
from ipywidgets import Widget, widget_serialization

from mipro_nb.notebook.charts import vega_specs
from mipro_nb.notebook.code import LOADER, holder

SENDING = threading.RLock()  # one for all that is sent: comms of several threads at once leave stale views

NEEDS = {
    "progress": ("_status",),
    "chart": ("_status", "_base", "_tail", "_texts"),
    "candidates": ("_status", "_texts", "_stats", "_base", "_tail"),
    "examples": ("_status", "_examples"),
    "prompt": ("_status", "_prompt"),
}
NEEDS["all"] = tuple(dict.fromkeys(name for names in NEEDS.values() for name in names))


TOGETHER = (("_status",), ("_base", "_tail"), ("_stats",), ("_texts",), ("_examples",), ("_prompt",))  # by urgency
LARGEST = 4_500  # bytes of a message, where it can be helped


class Part(anywidget.AnyWidget):
    """One part of the live view of a run, or all of them.

    Args:
        kind: ``all``, ``progress``, ``chart``, ``candidates``, ``examples`` or ``prompt``.
        state: values of the traits that this kind ``NEEDS``.
        heard: called with each message of the front end, and this part.

    Attributes:
        selected: number of the selected trial, or None; the same in all parts of a view.
    """

    _esm = LOADER
    _part = traitlets.Unicode("all").tag(sync=True)
    _code = traitlets.Instance(Widget).tag(sync=True, **widget_serialization)
    _status = traitlets.Dict().tag(sync=True)
    _base = traitlets.Bytes().tag(sync=True)
    _tail: Any = traitlets.List().tag(sync=True)
    _texts = traitlets.Bytes().tag(sync=True)
    _stats = traitlets.Dict().tag(sync=True)
    _examples = traitlets.Bytes().tag(sync=True)
    _prompt = traitlets.Bytes().tag(sync=True)
    selected = traitlets.Int(None, allow_none=True).tag(sync=True)

    def __init__(self, kind: str, state: Mapping[str, Any], heard: Callable[[Part, Any], None], **more: Any) -> None:
        self._late: list[tuple[str, ...]] = []  # what didn't fit in the last time
        with SENDING:
            super().__init__(_part=kind, _code=holder(vega_specs()), **self.wanted(kind, state), **more)
        self.on_msg(lambda _, content, buffers: heard(self, content))

    @staticmethod
    def wanted(kind: str, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return what of a state a kind of part shows."""
        return {name: state[name] for name in NEEDS[kind] if name in state}

    def take(self, state: Mapping[str, Any]) -> bool:
        """Show what of a state has changed, in one message of bounded size; return whether that was all.

        What doesn't fit in goes first the next time; what is larger by itself goes alone.
        """
        with SENDING, self.hold_sync():
            changed = {n: v for n, v in self.wanted(self._part, state).items() if getattr(self, n) != v}
            late, size = list[tuple[str, ...]](), 0
            for names in (*self._late, *(names for names in TOGETHER if names not in self._late)):
                group = {name: changed[name] for name in names if name in changed}
                more = sum(map(_size, group.values()))
                if size and size + more > LARGEST:
                    late.append(names)
                    continue
                size += more
                for name, value in group.items():
                    setattr(self, name, value)
            self._late = late
        return not late

    @property
    def closed(self) -> bool:
        """Whether nobody can see it any more."""
        return self.comm is None

    def notify_change(self, change: Any) -> None:
        with SENDING:
            super().notify_change(change)

    def _send(self, msg: Any, buffers: Any = None) -> None:
        with SENDING:
            super()._send(msg, buffers)

    def _handle_msg(self, msg: Any) -> None:
        with SENDING:
            super()._handle_msg(msg)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, bytes) else len(json.dumps(value))

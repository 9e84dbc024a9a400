"""What a kernel sends to the page, and how the page fares meanwhile."""

from __future__ import annotations

import itertools
import json
import struct
from datetime import datetime
from typing import Any

PROBE = """node => {
    const probe = window.probe = {worst: 0, replaced: 0};
    let last = performance.now();
    const tick = (now) => {
        probe.worst = Math.max(probe.worst, now - last);
        last = now;
        requestAnimationFrame(tick);
    };
    requestAnimationFrame((now) => {
        last = now;
        requestAnimationFrame(tick);
    });
    const drawing = (one) => one.nodeType === 1 && (one.matches("canvas, svg.marks") || one.querySelector("canvas"));
    new MutationObserver((changes) => {
        for (const change of changes) probe.replaced += [...change.removedNodes].filter(drawing).length;
    }).observe(node, {childList: true, subtree: true});
}"""


class Traffic:
    """The comm messages that a page's kernel sends, from now on."""

    def __init__(self, page: Any) -> None:
        self.sizes: list[int] = []
        self.times: list[float] = []
        page.on("websocket", lambda socket: socket.on("framereceived", self._take))

    def _take(self, frame: str | bytes) -> None:
        if isinstance(frame, str):
            return
        (count,) = struct.unpack("<Q", frame[:8])
        bounds = struct.unpack(f"<{count}Q", frame[8 : 8 + 8 * count])
        _, head, _, _, *content = [frame[start:end] for start, end in itertools.pairwise(bounds)]
        said = json.loads(head)
        if said["msg_type"] == "comm_msg":
            self.sizes.append(sum(map(len, content)))
            self.times.append(_seconds(said["date"]))

    @property
    def seconds(self) -> float:
        """From the first message to the last one."""
        return max(self.times) - min(self.times)


def _seconds(date: str) -> float:
    return datetime.fromisoformat(date.replace("Z", "+00:00")).timestamp()


def watch(node: Any) -> None:
    """Watch frame gaps, and charts that are replaced below a node."""
    node.evaluate(PROBE)


def watched(page: Any) -> dict[str, float]:
    """Return the worst gap between two frames in milliseconds, and how many charts were replaced."""
    found: dict[str, float] = page.evaluate("() => window.probe")
    return found

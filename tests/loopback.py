"""A small OpenAI-compatible server on loopback; what it answers, and when it fails, is the test's choice.

>>> with Loopback(lambda messages: "42", faults=[error(429), DROP]) as server:
...     print(server.url.rsplit(":", 1)[0], server.requests)
http://127.0.0.1 []
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Request:
    """What came in: its number from 0, its attempt (from 1, among requests of the same body), body and headers."""

    number: int
    attempt: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Fault:
    """Instead of an answer: the bytes of a response, or a deed (``hang``, ``drop``)."""

    kind: str
    status: int = 200
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def error(status: int, message: str = "told to fail", code: str | None = None, **headers: str) -> Fault:
    """An error in OpenAI's form; ``retry_after="3"`` becomes the header Retry-After."""
    kind = code or ("invalid_request_error" if 400 <= status < 429 else "server_error")
    told = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    sent = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return Fault(str(status), status, json.dumps(told).encode(), sent)


HANG = Fault("hang")  # until the client or the test ends
DROP = Fault("drop")
GARBAGE = Fault("garbage", content=b"<html>It works!</html>")
TRUNCATED = Fault("truncated", content=b'{"id": "x", "object": "chat.completion", "choices": [{"ind')
NO_CHOICES = Fault("no_choices", content=b'{"id": "x", "object": "chat.completion", "model": "m", "choices": []}')

Faults = Callable[[Request], "Fault | None"]


def seeded(seed: int, share: float, kinds: Sequence[Fault]) -> Faults:
    """Return a choice of faults that hangs on body and attempt alone: each kind at ``share`` of the requests."""

    def choose(request: Request) -> Fault | None:
        drawn = random.Random(f"{seed}/{fingerprint(request.body)}/{request.attempt}").random()
        place = int(drawn / share)
        return kinds[place] if place < len(kinds) else None

    return choose


def fingerprint(body: Any) -> str:
    """A short hash of a request."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


class Loopback:
    """The server; a context manager that leaves no thread and no socket behind.

    Args:
        reply: the text that answers the messages.
        faults: a list, used up by the first requests; or a function of the request.

    Attributes:
        requests: all that came in, in order.
        faulted: (number of the request, kind of fault).
    """

    def __init__(self, reply: Callable[[Messages], str], faults: Faults | Sequence[Fault | None] = ()) -> None:
        self.reply = reply
        self.fault: Faults = (
            faults if callable(faults) else lambda r: faults[r.number] if r.number < len(faults) else None
        )
        self.requests: list[Request] = []
        self.faulted: list[tuple[int, str]] = []
        self.closing = threading.Event()
        self._attempts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread: threading.Thread | None = None
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Loopback:
        self._serve()
        return self

    def __exit__(self, *raised: object) -> None:
        self.go_down()
        if self._server.errors and raised[0] is None:
            raise self._server.errors[0]

    def _serve(self) -> None:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="loopback")
        self._thread.start()

    def go_down(self) -> None:
        """Hang up, and refuse connections from now on."""
        if self._thread is None:
            return
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._thread = None
        self._server.hang_up()
        self._server.server_close()  # waits for the threads of the connections

    def come_back(self) -> None:
        """Answer again, at the same port."""
        self.closing.clear()
        errors, self._server = self._server.errors, _Server(self, self.port)
        self._server.errors = errors
        self._serve()

    def take(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[Request, Fault | None]:
        """Note a request and choose its fault."""
        with self._lock:
            mark = fingerprint(body)
            self._attempts[mark] += 1
            request = Request(len(self.requests), self._attempts[mark], body, headers)
            self.requests.append(request)
            fault = self.fault(request)
            if fault is not None:
                self.faulted.append((request.number, fault.kind))
        return request, fault


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    request_queue_size = 128
    allow_reuse_address = True  # it may come back

    def __init__(self, owner: Loopback, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.owner = owner
        self.connections: set[socket.socket] = set()
        self.errors: list[BaseException] = []

    @contextlib.contextmanager
    def open_connection(self, connection: socket.socket) -> Iterator[None]:
        self.connections.add(connection)
        try:
            yield
        finally:
            self.connections.discard(connection)

    def hang_up(self) -> None:
        """Wake the threads that wait for the next request of a connection that is kept alive."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        import sys

        problem = sys.exception()
        if problem is not None and not isinstance(problem, ConnectionError):
            self.errors.append(problem)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        with self.server.open_connection(self.connection):
            if not self.server.owner.closing.is_set():
                super().handle()

    def do_POST(self) -> None:
        owner, length = self.server.owner, int(self.headers["Content-Length"])
        content = self.rfile.read(length)
        if len(content) < length:  # the client was killed while it sent
            self.close_connection = True
            return
        body = json.loads(content)
        _, fault = owner.take(body, dict(self.headers))
        if not self.path.endswith("/v1/chat/completions"):
            fault = error(404, f"no such path: {self.path}")
        if fault is None:
            self.answer(200, json.dumps(completion(body, owner.reply(body["messages"]))).encode())
        elif fault.kind in ("hang", "drop"):
            if fault.kind == "hang":
                owner.closing.wait()
            self.close_connection = True
        else:
            self.answer(fault.status, fault.content, fault.headers)

    def answer(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def completion(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    """An answer in OpenAI's form; a token is a word."""
    asked = sum(len(message["content"].split()) for message in body["messages"])
    said = len(text.split())
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said},
    }

"""A real server on this machine that plays a judge."""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

MARKED = re.compile(r"<<<begin ([a-z]+(?: [AB])?) ([0-9a-f]{16})>>>\n(.*?)\n<<<end \2>>>", re.DOTALL)


class Reply(NamedTuple):
    """What the server sends; `drip_s` waits before every byte, `hang` never sends anything."""

    text: str = ""
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012  never written to
    is_raw: bool = False
    """Whether the text is the whole body, and not the judge's words inside a chat completion."""
    drip_s: float = 0.0
    hang: bool = False


Play = Callable[["Asked"], Reply]


class Asked(NamedTuple):
    """One request, and how many came before it."""

    number: int
    path: str
    key: str | None
    request: dict[str, Any]

    @property
    def shown(self) -> dict[str, str]:
        """What stands between marks, by name."""
        return {name: text for name, _, text in MARKED.findall(self.request["messages"][1]["content"])}

    @property
    def unmarked(self) -> str:
        """What stands outside of them."""
        return MARKED.sub("", self.request["messages"][1]["content"])


class JudgeServer(NamedTuple):
    """A running server."""

    url: str
    asked: list[Asked]


def verdict(better: str, level: str = "better", **more: object) -> Reply:
    """A judge's words of the right form."""
    return Reply(json.dumps({"better": better, "level": level, **more}))


def fair(asked: Asked) -> Reply:
    """Prefers the answer with more of the letter `x`."""
    counts = [asked.shown[f"answer {name}"].count("x") for name in "AB"]
    return verdict("tie") if counts[0] == counts[1] else verdict("A" if counts[0] > counts[1] else "B")


@contextlib.contextmanager
def judge_server(play: Play) -> Iterator[JudgeServer]:
    """Run a server for as long as the block lasts."""
    asked: list[Asked] = []
    ending, lock = threading.Event(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                one = Asked(len(asked), self.path, self.headers.get("Authorization"), json.loads(body))
                asked.append(one)
            reply = play(one)
            if reply.hang:
                ending.wait()
                return
            words = {"choices": [{"message": {"role": "assistant", "content": reply.text}}]}
            data = (reply.text if reply.is_raw else json.dumps(words)).encode()
            with contextlib.suppress(ConnectionError):
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                step = 1 if reply.drip_s else len(data)
                for start in range(0, len(data), max(1, step)):
                    if reply.drip_s and ending.wait(reply.drip_s):
                        return
                    self.wfile.write(data[start : start + step])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that gave up is none."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("no_proxy", "127.0.0.1")
            yield JudgeServer(f"http://127.0.0.1:{server.server_port}/v1", asked)
    finally:
        ending.set()
        server.shutdown()
        thread.join()
        server.server_close()

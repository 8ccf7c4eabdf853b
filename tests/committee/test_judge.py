"""One question to a real server: every way in which it can fail has its reason, and is tried again or not."""

import socket
import threading
import time
from collections.abc import Callable

import pytest

from codling.committee.judge import MAX_REPLY_BYTES, JudgeFailure, Unanswered, complete, try_often
from codling.committee.labeler import SetAside
from codling.errors import UserError
from tests.committee.judge_server import Play, Reply, judge_server

REQUEST = {"model": "m", "messages": [{"role": "user", "content": "Hm?"}]}
KEY = "sk-secret"


def ask(play: Play, timeout_s: float = 5.0, key: str | None = KEY) -> str:
    with judge_server(play) as server:
        return complete(f"{server.url}/chat/completions", key, REQUEST, timeout_s)


def failure(play: Play, timeout_s: float = 5.0) -> JudgeFailure:
    with pytest.raises(JudgeFailure) as caught:
        ask(play, timeout_s)
    return caught.value


def test_the_request_arrives_whole_and_the_reply_comes_back() -> None:
    with judge_server(lambda asked: Reply("yes, \u00e9\u2028")) as server:
        for key in (KEY, None):
            assert complete(f"{server.url}/chat/completions", key, REQUEST, 5.0) == "yes, \u00e9\u2028"
    first, second = server.asked
    assert (first.path, first.key, first.request) == ("/v1/chat/completions", f"Bearer {KEY}", REQUEST)
    assert second.key is None


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
def test_statuses_that_pass(status: int) -> None:
    caught = failure(lambda asked: Reply("busy", status, is_raw=True))
    assert (caught.reason, caught.may_pass, caught.detail) == (SetAside.FAILED, True, f"HTTP {status} busy")


def test_a_server_may_say_how_long_to_wait() -> None:
    assert failure(lambda asked: Reply("", 429, {"Retry-After": "7"})).wait_s == 7
    assert failure(lambda asked: Reply("", 429, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"})).wait_s == 0


@pytest.mark.parametrize("status", [400, 413, 422])
def test_other_refusals_are_about_the_question(status: int) -> None:
    caught = failure(lambda asked: Reply("too long", status, is_raw=True))
    assert (caught.reason, caught.may_pass) == (SetAside.REFUSED, False)


@pytest.mark.parametrize(
    ("status", "mend"), [(401, "api_key_env"), (402, "credit"), (403, "key"), (404, "base_url"), (405, "base_url")]
)
def test_what_cannot_get_better_ends_the_work_and_keeps_the_key_secret(status: int, mend: str) -> None:
    with pytest.raises(UserError, match=rf"^http://127\.0\.0\.1:\d+/v1/chat/completions: .*{mend}.*HTTP {status}") as e:
        ask(lambda asked: Reply(f"no\nsuch {KEY}", status, is_raw=True))
    assert "no such ***" in str(e.value)
    assert "\n" not in str(e.value)
    assert KEY not in str(e.value)


def test_a_redirect_is_not_followed_as_the_key_is_not_for_others() -> None:
    with judge_server(lambda asked: Reply("mine")) as other:
        with pytest.raises(UserError, match=f"not here but at {other.url}/there; write that into base_url"):
            ask(lambda asked: Reply("", 307, {"Location": f"{other.url}/there"}))
        assert other.asked == []


def test_silence_and_a_trickle_time_out() -> None:
    plays: tuple[Play, ...] = (lambda asked: Reply(hang=True), lambda asked: Reply("x" * 1000, drip_s=0.02))
    for play in plays:
        start_s = time.monotonic()
        caught = failure(play, timeout_s=0.2)
        assert (caught.reason, caught.may_pass, caught.detail) == (SetAside.TIMED_OUT, True, "no answer in 0.2 s")
        assert time.monotonic() - start_s < 2


def test_no_server_at_all() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    with pytest.raises(JudgeFailure, match="refused") as caught:
        complete(url, None, REQUEST, 5.0)
    assert (caught.value.reason, caught.value.may_pass) == (SetAside.FAILED, True)


@pytest.mark.parametrize(
    "body",
    ["", "<html>", "[]", "{}", '{"choices": []}', '{"choices": [{"message": {"content": null}}]}', "[" * 100_000],
)
def test_what_is_no_chat_completion(body: str) -> None:
    caught = failure(lambda asked: Reply(body, is_raw=True))
    assert (caught.reason, caught.may_pass) == (SetAside.NONSENSE, True)
    assert len(caught.detail) < 300


def test_a_flood_is_not_read_to_its_end() -> None:
    assert failure(lambda asked: Reply("x" * (3 * MAX_REPLY_BYTES))).reason is SetAside.NONSENSE


def failing(times: int, *, may_pass: bool = True, wait_s: float = 0.0) -> Callable[[], str]:
    left = iter(range(times))

    def attempt() -> str:
        if (number := next(left, None)) is not None:
            raise JudgeFailure(SetAside.FAILED, f"failure {number}", wait_s=wait_s, may_pass=may_pass)
        return "done"

    return attempt


class Waits(threading.Event):
    """Notes how long it should wait, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.noted.append(timeout or 0.0)
        return False


@pytest.mark.parametrize("times", range(5))
def test_tries_have_a_limit_and_waits_double(times: int) -> None:
    waits = Waits()
    result = try_often(failing(times), max_tries=4, first_wait_s=1.0, stop=waits)
    assert result == ("done" if times < 4 else Unanswered(SetAside.FAILED, "failure 3"))
    assert len(waits.noted) == min(times, 3)
    assert all(0.75 * 2**number <= wait <= 1.25 * 2**number for number, wait in enumerate(waits.noted))


def test_waits_are_as_long_as_the_server_asks_but_not_endless() -> None:
    for asked_s, waited_s in ((7.0, 7.0), (1e6, 60.0)):
        waits = Waits()
        try_often(failing(1, wait_s=asked_s), max_tries=2, first_wait_s=0.1, stop=waits)
        assert waits.noted == [waited_s]
    waits = Waits()
    try_often(failing(2000), max_tries=2000, first_wait_s=1.0, stop=waits)
    assert max(waits.noted) == 60


def test_what_does_not_pass_is_tried_once() -> None:
    waits = Waits()
    result = try_often(failing(1, may_pass=False), max_tries=4, first_wait_s=1.0, stop=waits)
    assert result == Unanswered(SetAside.FAILED, "failure 0")
    assert waits.noted == []


def test_stopped_it_does_not_begin() -> None:
    stop = threading.Event()
    stop.set()
    assert isinstance(try_often(failing(0), max_tries=4, first_wait_s=1.0, stop=stop), Unanswered)

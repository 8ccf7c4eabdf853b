"""A judge reached by the OpenAI chat-completions interface: one question, and when to ask it again.

What may pass (a timeout, a lost connection, HTTP 408, 409, 425, 429 and 5xx, an answer in another form) is tried again
with a wait that doubles. What cannot get better by itself (a key that is refused, an address that is not there) ends
the work. Any other refusal is about this one question.
"""

import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from codling.committee.labeler import SetAside
from codling.errors import UserError

T = TypeVar("T")
MAX_WAIT_S = 60.0
MAX_DOUBLINGS = 20
MAX_REPLY_BYTES = 2**20
CHUNK_BYTES = 2**16
EXCERPT_CHARACTERS = 200
PASSING_STATUSES = frozenset({408, 409, 425, 429})
MENDS: Mapping[int, str] = {
    401: "the key is missing or refused; name by api_key_env the environment variable that holds a good one",
    402: "the account has no credit left",
    403: "the key may not use this model; give another key or model",
    404: "there is no such address, or no such model; check base_url and model",
    405: "this is no chat-completions address; check base_url",
}
"""HTTP status -> what to do about it: these do not pass by themselves."""


class JudgeFailure(Exception):
    """One try that gave no answer."""

    def __init__(self, reason: SetAside, detail: str, *, wait_s: float = 0.0, may_pass: bool = True) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.wait_s, self.may_pass = reason, detail, wait_s, may_pass


class Unanswered(NamedTuple):
    """A question given up."""

    reason: SetAside
    detail: str
    """The last that went wrong."""


def try_often(
    attempt: Callable[[], T], *, max_tries: int, first_wait_s: float, stop: threading.Event
) -> T | Unanswered:
    """Try until it works, up to `max_tries` times; the wait doubles, and is never shorter than the server asks for.

    `stop` ends the waiting. Errors: those of `attempt` but for `JudgeFailure`.
    """
    last = Unanswered(SetAside.FAILED, "not asked")
    for number in range(max_tries):
        if stop.is_set():
            break
        try:
            return attempt()
        except JudgeFailure as failure:
            last = Unanswered(failure.reason, failure.detail)
            if not failure.may_pass or number + 1 == max_tries:
                break
            # Not all at the same moment: parallel questions fail together.
            wait_s = first_wait_s * 2.0 ** min(number, MAX_DOUBLINGS) * random.uniform(0.75, 1.25)
            stop.wait(min(max(wait_s, failure.wait_s), MAX_WAIT_S))
    return last


def complete(url: str, key: str | None, request: Mapping[str, Any], timeout_s: float) -> str:
    """Send one request, and return the text of the reply; it is all there within twice `timeout_s`, or given up.

    Errors: `JudgeFailure`; `UserError` for what does not pass, which names `url` and the mend.
    """
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    asked = urllib.request.Request(url, json.dumps(request).encode(), headers, method="POST")
    try:
        with urllib.request.build_opener(_NoRedirect).open(asked, timeout=timeout_s) as response:
            body = _read(response, timeout_s)
    except urllib.error.HTTPError as error:
        with error:
            raise _failure_of(url, key, error) from None
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            raise JudgeFailure(SetAside.TIMED_OUT, f"no answer in {timeout_s:g} s") from None
        raise JudgeFailure(SetAside.FAILED, f"{reason}" or type(reason).__name__) from None
    try:
        text = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, RecursionError, LookupError, TypeError):
        raise JudgeFailure(SetAside.NONSENSE, f"no chat completion: {_excerpt(body)}") from None
    if not isinstance(text, str):
        raise JudgeFailure(SetAside.NONSENSE, "a chat completion without text")
    return text


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The key is for the server that was named, and for no other."""

    def redirect_request(self, *_: object) -> None:
        """Make no second request: the redirect becomes an `HTTPError`."""


def _read(response: http.client.HTTPResponse, timeout_s: float) -> bytes:
    """Read all; the socket's own timeout would let a server go on forever that sends a byte now and then."""
    deadline_s = time.monotonic() + timeout_s
    parts: list[bytes] = []
    while part := response.read1(CHUNK_BYTES):
        parts.append(part)
        if time.monotonic() > deadline_s:
            raise TimeoutError
        if sum(map(len, parts)) > MAX_REPLY_BYTES:
            raise JudgeFailure(SetAside.NONSENSE, f"a reply of more than {MAX_REPLY_BYTES} bytes")
    return b"".join(parts)


def _failure_of(url: str, key: str | None, error: urllib.error.HTTPError) -> Exception:
    try:
        said = _excerpt(error.read(CHUNK_BYTES))
    except (OSError, http.client.HTTPException):
        said = ""
    # Some servers repeat the key that they refuse.
    said = said.replace(key, "***") if key else said
    detail = f"HTTP {error.code} {said}".strip()
    if 300 <= error.code < 400:
        target = error.headers.get("Location", "another address")
        return UserError(f"{url}: the judge is not here but at {target}; write that into base_url")
    if error.code in MENDS:
        return UserError(f"{url}: {MENDS[error.code]} ({detail})")
    if error.code in PASSING_STATUSES or error.code >= 500:
        asked_wait = error.headers.get("Retry-After", "")
        return JudgeFailure(SetAside.FAILED, detail, wait_s=float(asked_wait) if asked_wait.isdecimal() else 0.0)
    return JudgeFailure(SetAside.REFUSED, detail, may_pass=False)


def _excerpt(body: bytes) -> str:
    """The beginning of what a server said, on one line."""
    text = " ".join(body.decode(errors="replace").split())
    return text if len(text) <= EXCERPT_CHARACTERS else f"{text[:EXCERPT_CHARACTERS]}..."

"""Labels by a judge: a language model that compares the answers, asked in both orders, many pairs at a time."""

import os
import re
import threading
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import field, fields, replace
from typing import Any, Literal

from codling.committee.candidates import CandidatePair
from codling.committee.judge import JudgeFailure, Unanswered, complete, try_often
from codling.committee.judge_prompt import question, read_reply
from codling.committee.labeler import PairsToLabel, SetAside, Verdict
from codling.config import config
from codling.errors import UserError
from codling.posttrain.gradings import Gradings
from codling.posttrain.levels import Level

VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@config
class JudgeConfig:
    """A judge as a labeler."""

    kind: Literal["judge"] = "judge"
    base_url: str
    """The address before `/chat/completions`, for example https://api.openai.com/v1."""
    model: str
    """As the server names it; each label says it."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key, never the key itself; none: the server wants no key."""
    timeout_s: float = 60.0
    """Of one try."""
    max_tries: int = 4
    """Of one question, before its pair is set aside."""
    first_wait_s: float = 1.0
    """Before the second try; it doubles from try to try."""
    num_parallel: int = 4
    """Questions on their way at the same time."""
    both_orders: bool = True
    """Whether a pair is asked twice, the second time with its answers swapped: judges like the first (arXiv 2306.05685
    section 3.3). Verdicts that disagree are set aside. Otherwise a hash of the pair says which answer comes first."""
    max_failures_in_a_row: int = 20
    """Pairs set aside one after the other because the judge gave no answer, before the stage stops. Ours."""
    parameters: dict[str, Any] = field(default_factory=lambda: {"temperature": 0})
    """Further keys of each request, as the server knows them."""

    def __post_init__(self) -> None:
        if self.api_key_env is not None and not VARIABLE_NAME.fullmatch(self.api_key_env):
            # No ValueError: the report of one would show what was written here, which is likely the key.
            raise UserError("api_key_env: not the name of an environment variable; never write the key itself there")
        if not _is_address(self.base_url):
            raise ValueError(f"base_url is '{self.base_url}'; write it as https://host/v1")
        if min(self.timeout_s, self.max_tries, self.num_parallel, self.max_failures_in_a_row) <= 0:
            raise ValueError("timeout_s, max_tries, num_parallel and max_failures_in_a_row must be above 0")
        if self.first_wait_s < 0:
            raise ValueError("first_wait_s must not be negative")
        if taken := sorted(self.parameters.keys() & {"model", "messages", "stream", "n"}):
            raise ValueError(f"parameters holds '{taken[0]}', which is not free to choose")

    @property
    def name(self) -> str:
        """The model."""
        return f"judge: {self.model}"

    @property
    def url(self) -> str:
        """Where questions go."""
        return f"{self.base_url.rstrip('/')}/chat/completions"

    def label(self, work: PairsToLabel) -> Iterator[tuple[str, Verdict | SetAside]]:
        """Ask about all pairs that are left.

        Errors: `UserError` for a key that is not in the environment or is refused, a wrong address, and a judge that
        fails again and again.
        """
        return self._ask_all(work, self._key())

    def _key(self) -> str | None:
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            raise UserError(f"{self.url}: the environment variable {self.api_key_env} holds no key; set it")
        return key

    def _ask_all(self, work: PairsToLabel, key: str | None) -> Iterator[tuple[str, Verdict | SetAside]]:
        stop = threading.Event()
        executor = ThreadPoolExecutor(self.num_parallel)
        failures = 0
        try:
            asked = {executor.submit(self._ask, *item, key, stop): item[0] for item in work.left().items()}
            for future in as_completed(asked):
                result = future.result()
                failures = failures + 1 if isinstance(result, Unanswered) else 0
                if isinstance(result, Unanswered) and failures == self.max_failures_in_a_row:
                    raise UserError(
                        f"{self.url}: {failures} pairs in a row without an answer, the last time: {result.detail}; "
                        "mend the judge and run again, what it has said so far is kept"
                    )
                yield asked[future], result.reason if isinstance(result, Unanswered) else result
        finally:
            stop.set()
            executor.shutdown(cancel_futures=True)

    def _ask(
        self, pair_id: str, pair: CandidatePair, key: str | None, stop: threading.Event
    ) -> Verdict | SetAside | Unanswered:
        """Ask about one pair, in one order or both."""
        verdicts = []
        for is_swapped in (False, True) if self.both_orders else (int(pair_id, base=16) % 2 == 1,):
            shown = replace(pair, answers=pair.answers[::-1]) if is_swapped else pair
            result = self._ask_once(pair_id, shown, key, stop)
            if isinstance(result, Unanswered):
                return result
            verdicts.append(result.swapped if is_swapped and isinstance(result, Verdict) else result)
        return verdicts[0] if len(verdicts) == 1 else agreed(*verdicts)

    def _ask_once(
        self, pair_id: str, pair: CandidatePair, key: str | None, stop: threading.Event
    ) -> Verdict | SetAside | Unanswered:
        request = {**self.parameters, "model": self.model, "messages": question(pair_id, pair)}

        def attempt() -> Verdict | SetAside:
            text = complete(self.url, key, request, self.timeout_s)
            try:
                return read_reply(text)
            except ValueError as error:
                raise JudgeFailure(SetAside.NONSENSE, str(error)) from None

        return try_often(attempt, max_tries=self.max_tries, first_wait_s=self.first_wait_s, stop=stop)


def _is_address(text: str) -> bool:
    """Whether a path can be hung on it; a name or a key before the host is none of an address."""
    try:
        parts = urllib.parse.urlsplit(text)
        host = (parts.hostname or "").encode("idna")
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    is_plain = text.isascii() and text.isprintable() and not re.search(r"[ ?#@]", text)
    return parts.scheme in ("http", "https") and bool(host) and has_port and is_plain


def agreed(first: Verdict | SetAside, second: Verdict | SetAside) -> Verdict | SetAside:
    """What two verdicts on one pair have in common: the better answer, the weaker level, and grades that are equal."""
    if not isinstance(first, Verdict) or not isinstance(second, Verdict):
        return SetAside.TIE if first == second else SetAside.DISAGREE
    if first.better != second.better:
        return SetAside.DISAGREE
    level = max(first.level, second.level, key=list(Level).index)
    gradings = None
    if first.gradings is not None and second.gradings is not None:
        gradings = (
            _common(first.gradings[0], second.gradings[0]),
            _common(first.gradings[1], second.gradings[1]),
        )
    return Verdict(better=first.better, level=level, gradings=gradings)


def _common(first: Gradings, second: Gradings) -> Gradings:
    names = [aspect.name for aspect in fields(Gradings)]
    return Gradings(**{name: getattr(first, name) for name in names if getattr(first, name) == getattr(second, name)})

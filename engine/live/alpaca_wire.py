"""Requests to Alpaca: its own client, with what it lacks.

alpaca-py waits for an answer for ever, sends a request again with the same body after 429 and 504, an order among them,
and rounds decimals to floats. Here a request has a deadline, is sent once, keeps its numbers, waits for its turn among
those allowed in a minute, and a failure says whether an order may be at the venue.

Keys come from the environment and go into headers; nothing that can be shown holds them.
"""

from __future__ import annotations

import ipaddress
import json
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from clusterfolio import ClusterfolioError
from clusterfolio.engine.live.venue import NotAccepted, Unanswered, Unavailable, Unreadable, VenueError

try:
    from alpaca.trading.client import TradingClient
except ImportError as fault:
    raise ClusterfolioError("--venue alpaca needs pip install 'clusterfolio[paper]'") from fault

KEY_ID, SECRET_KEY = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"

PAPER = "https://paper-api.alpaca.markets"
PAPER_STREAM = "wss://paper-api.alpaca.markets/stream"

#: Requests without which no order can be sent: they may use up the whole minute.
FIRST = ("/v2/orders", "/v2/clock", "/v2/calendar")


class Hidden(str):
    """Text that does not show itself: not in a traceback's locals, a log line or a message. Encoded it is itself."""

    def __repr__(self) -> str:
        return "'***'"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: Any):
        raise TypeError("a key is not stored")


@dataclass(frozen=True)
class Keys:
    """What Alpaca knows the account by."""

    key_id: Hidden
    secret: Hidden

    @classmethod
    def from_environment(cls) -> Keys:
        """Read the two variables.

        Raises:
            ClusterfolioError: one is missing, or is no key (the value is not shown).
        """
        found = {name: os.environ.get(name, "").strip() for name in (KEY_ID, SECRET_KEY)}
        missing = [name for name, value in found.items() if not value]
        if missing:
            raise ClusterfolioError(f"--venue alpaca: {' and '.join(missing)} must be set in the environment")
        for name, value in found.items():
            if not value.isascii() or not value.isprintable() or " " in value:
                raise ClusterfolioError(f"{name}: expected the key as Alpaca shows it, without blanks")
        return cls(Hidden(found[KEY_ID]), Hidden(found[SECRET_KEY]))

    def strike_out(self, text: str) -> str:
        """A text of the venue's, without the keys that it may have sent back."""
        return text.replace(self.key_id, "***").replace(self.secret, "***")


def is_loopback(url: str) -> bool:
    """Whether an address leads to this machine only."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed(url: str, paper: str) -> str:
    """An address, if it is the paper host's or leads to this machine: nothing else is ever sent a key or an order.

    >>> allowed("https://paper-api.alpaca.markets", PAPER)
    'https://paper-api.alpaca.markets'
    >>> allowed("https://api.alpaca.markets", PAPER)
    Traceback (most recent call last):
    ...
    ValueError: got 'https://api.alpaca.markets', expected https://paper-api.alpaca.markets or one of this machine
    """
    parts = urlsplit(url)
    schemes = ("http", "https") if urlsplit(paper).scheme == "https" else ("ws", "wss")
    at_home = parts.scheme in schemes and is_loopback(url) and not (parts.username or parts.password)
    if url.rstrip("/") != paper and not at_home:
        raise ValueError(f"got {url!r}, expected {paper} or one of this machine")
    return url.rstrip("/")


class Budget:
    """At most so many requests in any minute, orders before data; for one thread.

    A request counts from when it is sent until a minute after it was answered. So the venue, to which it came in
    between, never sees more in a minute, wherever its minute begins.

    Args:
        reserve: of the requests, kept for orders.
        monotonic, sleep: seconds that never go back, and how they pass.
    """

    def __init__(
        self,
        limit: int = 200,
        period: float = 60.0,
        reserve: int = 20,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._limit, self._period, self._reserve = limit, period, min(reserve, limit - 1)
        self._monotonic, self._sleep = monotonic, sleep
        self._answered: deque[float] = deque()

    def delay(self, first: bool) -> float:
        """Seconds until a request may go; 0 = now.

        Args:
            first: of an order, or of what an order needs.
        """
        now = self._monotonic()
        while self._answered and self._answered[0] + self._period <= now:
            self._answered.popleft()
        excess = len(self._answered) - self._limit + (0 if first else self._reserve)
        return 0.0 if excess < 0 else self._answered[excess] + self._period - now

    def wait(self, first: bool) -> None:
        """Come back when a request may go; within a minute."""
        while (seconds := self.delay(first)) > 0:
            self._sleep(seconds)

    def answered(self, remaining: int | None) -> None:
        """Count a request.

        Args:
            remaining: how many more the venue takes by its own count, where it says: others may use the account too,
                and a process that was killed a moment ago has.
        """
        now = self._monotonic()
        self._answered.append(now)
        if remaining is not None:
            missing = self._limit - len(self._answered) - max(0, remaining)
            self._answered.extend([now] * max(0, missing))


class Declined(Unavailable):
    """The venue itself says that it has no such thing (404), or that this cannot be done with it now (422)."""

    def __init__(self, why: str, status: int):
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: str


class Client(TradingClient):
    """alpaca-py's client for one account; see the module's docstring.

    Args:
        timeout: seconds for connecting, for each part of an answer, and twice that for an answer in all.
        read_only: refuse, before the socket, whatever would change something at the venue.
        host: the only address beside this machine's that is taken.
    """

    def __init__(
        self, url: str, keys: Keys, budget: Budget, timeout: float = 10.0, read_only: bool = False, host: str = PAPER
    ):
        super().__init__(keys.key_id, keys.secret, raw_data=True, url_override=allowed(url, host))
        if is_loopback(url):
            self._session.trust_env = False  # no proxy stands between this machine and itself
        self._keys, self._budget, self._timeout, self._read_only = keys, budget, timeout, read_only

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()

    def _one_request(self, method: str, url: str, opts: dict, retry: int) -> Any:
        """One request, once: alpaca-py sends again only where this raises its RetryException, and it never does."""
        if self._read_only and method != "GET":
            raise RuntimeError(f"{method} in a dry run")
        path = urlsplit(url).path
        self._budget.wait(path.startswith(FIRST))
        answer, trouble = self._exchange(method, url, opts)
        self._budget.answered(None if answer is None else _whole(answer.headers.get("X-RateLimit-Remaining")))
        # Raised here and not where it is caught: what the HTTP library raises carries the headers, and so the keys.
        if answer is None:
            raise trouble
        if answer.status >= 300:
            raise self._refusal(method, path, answer)
        return self._content(method, path, answer)

    def _exchange(self, method: str, url: str, opts: dict) -> tuple[Answer | None, VenueError]:
        """Send and receive; what fails is returned."""
        path, sends_order = urlsplit(url).path, method == "POST"
        try:
            response = self._session.request(method, url, timeout=self._timeout, stream=True, **opts)
            with response:
                return Answer(response.status_code, response.headers, self._body(response)), VenueError("")
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            kind, never_sent = type(error).__name__, _never_sent(error)
        what = f"{method} {path}: {kind}"
        if not sends_order:
            return None, Unavailable(what)
        return None, NotAccepted(f"{what}, never sent", final=False) if never_sent else Unanswered(what)

    def _body(self, response: requests.Response) -> str:
        """The answer's body, within the deadline however slowly it drips; keys that were sent back are struck out."""
        deadline = time.monotonic() + 2 * self._timeout
        parts = []
        while part := response.raw.read1(decode_content=True):
            parts.append(part)
            if time.monotonic() > deadline:
                raise requests.ReadTimeout
        stated = response.headers.get("Content-Length")
        if stated is not None and response.raw.tell() < int(stated):
            raise requests.ConnectionError
        text = b"".join(parts).decode("utf-8", errors="replace")
        return self._keys.strike_out(text)

    def _refusal(self, method: str, path: str, answer: Answer) -> VenueError:
        """What an answer that is no success says of the request."""
        code, said = _reason(answer.body)
        what = f"{method} {path}: {answer.status} {said}".rstrip()
        after = _seconds(answer.headers)
        if method == "POST":
            if answer.status == 429:
                return NotAccepted(what, final=False, retry_after=after)
            if answer.status in (400, 401, 403, 404, 405, 422):
                return NotAccepted(said or what, final=answer.status != 401)
            return Unanswered(what)
        if answer.status in (404, 422) and code.startswith("4"):
            # Only the venue's own word counts: a 404 of something in between says nothing of the order.
            return Declined(what, answer.status)
        return Unavailable(what, retry_after=after)

    def _content(self, method: str, path: str, answer: Answer) -> Any:
        """The answer's JSON, its numbers as they are written."""
        if not answer.body:
            return None
        try:
            return json.loads(answer.body, parse_float=Decimal, parse_constant=_no_number)
        except ValueError:
            pass_on = f"{method} {path}: {answer.status}, but the answer is no JSON"
        raise Unanswered(pass_on) if method == "POST" else Unreadable(pass_on)


def _never_sent(error: BaseException) -> bool:
    """Whether nothing was sent: no connection came about. A connection that broke may have taken the request along."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError)


def _reason(body: str) -> tuple[str, str]:
    """Code and words of a refusal, as far as there are any."""
    try:
        found = json.loads(body)
    except ValueError:
        return "", ""
    if not isinstance(found, dict):
        return "", ""
    return str(found.get("code", "")), str(found.get("message", ""))[:300]


def _seconds(headers: Mapping[str, str]) -> float | None:
    """When to ask again: stated in seconds, or as the moment at which the minute begins anew."""
    stated, reset = _whole(headers.get("Retry-After")), _whole(headers.get("X-RateLimit-Reset"))
    if stated is not None:
        return float(stated)
    return None if reset is None else min(60.0, max(1.0, reset - time.time()))


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdigit() else None


def _no_number(text: str) -> Decimal:
    raise ValueError(f"{text} is no number")

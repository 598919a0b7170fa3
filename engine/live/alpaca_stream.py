"""Alpaca's stream of updates to orders: open, authenticated and listening within a bounded time, or not at all.

alpaca-py's own stream runs for ever, says to nobody whether it is authenticated and tries wrong keys again without end;
this one is opened by ``connect``, tells when it is gone, and is opened again by whoever needs it. What it brings is a
hint that something changed: after a cut nothing is replayed, and events come twice.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from clusterfolio.engine.live.alpaca_wire import PAPER_STREAM, Keys, allowed, is_loopback
from clusterfolio.engine.live.venue import Unavailable, Update

#: Seconds between signs of life, and until their absence means that the line is dead.
HEARTBEAT = 20.0

#: Hints that are kept until somebody asks; more say no more.
KEPT = 10_000

#: websockets logs whole messages at level debug, the one with the keys among them.
QUIET = logging.Logger("clusterfolio.engine.live.alpaca_stream", logging.WARNING)


@dataclass
class _Line:
    """One connection, and how far it came."""

    settled: threading.Event = field(default_factory=threading.Event)  # it listens, or has failed
    listening: bool = False
    wanted: bool = True
    trouble: str = "no answer in time"
    socket: ClientConnection | None = None


class TradeStream:
    """The stream.

    Args:
        url: the paper host's, or one of this machine.
        keys: sent once, after the connection is there.
    """

    def __init__(self, url: str, keys: Keys):
        self._url, self._keys = allowed(url, PAPER_STREAM), keys
        self._line = _Line(wanted=False)
        self._heard: deque[Update] = deque(maxlen=KEPT)
        self._news = threading.Condition()

    @property
    def ready(self) -> bool:
        """Whether it is authenticated and listening now."""
        return self._line.listening

    def open(self, timeout: float) -> None:
        """Connect, authenticate and listen; nothing happens if it does already.

        Raises:
            Unavailable: not done in ``timeout`` seconds, or the keys are refused.
        """
        if self._line.listening:
            return
        self.close()
        line = self._line = _Line()
        threading.Thread(target=self._hear, args=(line, timeout), daemon=True, name="alpaca updates").start()
        line.settled.wait(timeout)
        if not line.listening:
            self.close()
            raise Unavailable(f"the stream of updates: {self._keys.strike_out(line.trouble)}")

    def _hear(self, line: _Line, timeout: float) -> None:
        """One connection from its opening to its end, in a thread of its own."""
        deadline = time.monotonic() + timeout
        try:
            with connect(
                self._url, open_timeout=timeout, close_timeout=2.0, ping_interval=HEARTBEAT, ping_timeout=HEARTBEAT,
                logger=QUIET, proxy=None if is_loopback(self._url) else True,
            ) as socket:  # fmt: skip
                line.socket = socket
                line.trouble = self._introduce(socket, deadline)
                line.listening = line.wanted and not line.trouble
                line.settled.set()
                if line.listening:
                    self._take_in(line, socket)
        except (OSError, WebSocketException, TimeoutError) as error:
            line.trouble = line.trouble or type(error).__name__
        finally:
            line.listening = False
            line.settled.set()
            with self._news:
                self._news.notify_all()

    def _introduce(self, socket: ClientConnection, deadline: float) -> str:
        """Authenticate and ask for the updates; what goes wrong is returned in words."""
        keys = {"key_id": self._keys.key_id, "secret_key": self._keys.secret}
        socket.send(json.dumps({"action": "authenticate", "data": keys}))
        status = self._await(socket, "authorization", deadline).get("status")
        if status != "authorized":
            return f"not authorized ({status})"
        socket.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        streams = self._await(socket, "listening", deadline).get("streams")
        return "" if isinstance(streams, list) and "trade_updates" in streams else f"it listens to {streams}"

    def _await(self, socket: ClientConnection, name: str, deadline: float) -> dict:
        """The data of the next message of a stream."""
        while True:
            found = _parsed(socket.recv(timeout=max(0.0, deadline - time.monotonic())))
            if found.get("stream") == name and isinstance(found.get("data"), dict):
                return found["data"]
            if time.monotonic() > deadline:
                raise TimeoutError

    def _take_in(self, line: _Line, socket: ClientConnection) -> None:
        """Keep what comes until the connection ends or is given up."""
        for message in socket:
            if not line.wanted:
                return
            found = _parsed(message)
            if found.get("stream") == "trade_updates":
                with self._news:
                    self._heard.append(_update(found.get("data")))
                    self._news.notify_all()

    def take(self, wait: float) -> list[Update]:
        """What came since the last time, after at most ``wait`` seconds."""
        with self._news:
            if not self._heard and self._line.listening:
                self._news.wait(wait)
            found = list(self._heard)
            self._heard.clear()
        return found

    def close(self) -> None:
        """Close the connection; one that is still being opened is given up."""
        line = self._line
        line.wanted = line.listening = False
        if line.socket is not None:
            line.socket.close()


def _parsed(message: str | bytes) -> dict:
    """A message as an object; what is none is empty."""
    try:
        found = json.loads(message)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _update(data: object) -> Update:
    """Of which order a message tells, as far as that can be read: it is a hint only, and asked after."""
    data = data if isinstance(data, dict) else {}
    order = data.get("order")
    client_id = order.get("client_order_id", "") if isinstance(order, dict) else ""
    return Update(str(client_id), str(data.get("event", "")))

"""Alpaca on this machine: its REST answers and its stream of updates on 127.0.0.1, with faults on demand.

Orders are matched by a local venue, whose file outlives a restart; time is the local venue's and passes only where it
is moved. What is answered has the shape of the official document.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sqlite3
import threading
import time
import uuid
from collections import Counter, deque
from contextlib import suppress
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from clusterfolio.engine.live.alpaca import AlpacaVenue
from clusterfolio.engine.live.alpaca_wire import Hidden, Keys
from clusterfolio.engine.live.local import LocalVenue
from clusterfolio.engine.live.venue import ActivityKind, NotAccepted, OrderRequest, OrderState, Side, Timing
from tests.engine.live.judge import Exchange, broken
from tests.engine.live.worlds import CAPITAL, close_of, sessions_between

NEW_YORK = ZoneInfo("America/New_York")
KEY_ID, SECRET = "PKTESTKEYID000000001", "s3cretOfTheAccountThatNobodySees00000001"

#: What can be done to a request, by what it does to its order: whether it is taken, and what is answered.
FAULTS = {
    "504 after accept": (True, 504),
    "504": (False, 504),
    "cut after send": (True, "cut"),
    "cut before": (False, "cut"),
    "hang": (True, "hang"),
    "late": ("late", "hang"),
    "429": (False, 429),
    "500": (False, 500),
    "page": (True, "page"),
    "lost page": (False, "lost page"),
    "half": (True, "half"),
    "403": (False, 403),
}


class Shared(LocalVenue):
    """A local venue that several threads may use, one at a time."""

    def __init__(self, path, quotes, **more):
        super().__init__(path, quotes, **more)
        self._db.close()
        self._db = sqlite3.connect(str(path), isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA synchronous=OFF")


class Loopback:
    """The venue.

    Args:
        limit: requests a minute, counted over any sixty seconds of the venue's time.
        hang: seconds (of the machine) for which an answer is held back.

    Attributes:
        exchanges: every request with its answer, in order.
        faults: ``(method, path, fault)`` still to happen, each once, in order of their requests.
        twins: orders that came a second time under one client id.
        reuse_ids: give every order of a name and side the same id.
        without_bars: symbols of which the data host has none.
        lag: seconds for which what filled is not told by orders (positions tell).
        down_until: until then every connection is cut; what was taken before is there afterwards.
        deaf: events that the stream does not tell, by a part of their name.
        twice: tell every update twice, the last first.
        spoil: ``(path, answer) -> answer``, to answer what the document does not have.

    At its end every kind of request and answer is held against the official document.
    """

    def __init__(self, world, path: Path | str, *, limit: int = 200, hang: float = 1.0, now=None, **more):
        start = now or close_of(world.days[world.start].date())
        self.world, self.limit, self.hang = world, limit, hang
        self.lock = threading.RLock()
        self.engine = Shared(path, world.quotes(), start=start, cash=CAPITAL, **more)
        self.engine.connect(1.0)
        self.exchanges: list[Exchange] = []
        self.faults: list[tuple[str, str, str]] = []
        self.struck: Counter = Counter()
        self.twins: Counter = Counter()
        self.reuse_ids = self.twice = False
        self.deaf: tuple[str, ...] = ()
        self.lag = 0.0
        self.down_until = start
        self.cash_blocked = False
        self.spoil = None
        self.without_bars: set[str] = set()
        self.foreign: list[dict] = []
        self._sent_at: dict[str, dt.datetime] = {}
        self._late: list[OrderRequest] = []
        self._recent: deque[float] = deque()
        self._sockets: list = []
        self._refuse_streams = 0
        self.streams = 0
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"loopback": self}))
        self._http.daemon_threads = True
        self._ws = serve(self._stream, "127.0.0.1", 0, logger=logging.Logger("loopback", logging.WARNING))
        for serve_forever, how in ((self._http.serve_forever, (0.02,)), (self._ws.serve_forever, ())):
            threading.Thread(target=serve_forever, args=how, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.stream_url = f"ws://127.0.0.1:{self._ws.socket.getsockname()[1]}/stream"

    def __enter__(self):
        return self

    def __exit__(self, kind=None, *_):
        self.cut_stream()
        self._http.shutdown()
        self._http.server_close()
        self._ws.shutdown()
        if kind is None and self.spoil is None and not self.foreign:
            assert broken(self.exchanges) == []

    def venue(self, **more) -> AlpacaVenue:
        """The adapter, on this venue and in its time."""
        usual = {"keys": Keys(Hidden(KEY_ID), Hidden(SECRET)), "timeout": 2.0, "monotonic": self.monotonic,
                 "sleep": self.sleep}  # fmt: skip
        return AlpacaVenue(self.url, self.stream_url, **{**usual, **more})

    # Time

    @property
    def now(self) -> dt.datetime:
        with self.lock:
            return self.engine.now

    def monotonic(self) -> float:
        return self.now.timestamp()

    def sleep(self, seconds: float) -> None:
        self.wait(self.now + dt.timedelta(seconds=seconds))

    def wait(self, until: dt.datetime) -> None:
        """Move the time on; what was on its way arrives, and the stream tells what happened."""
        with self.lock:
            if until > self.engine.now:
                self.engine.advance(until)
            for request in self._late:
                self._take(request)
            self._late.clear()
            clock = self.engine.clock()
            if clock.is_open:
                self.engine.pulse(clock.next_close.date())
            self._tell()

    # Faults

    def fail(self, fault: str, times: int = 1, method: str = "POST", path: str = "/v2/orders") -> None:
        """Let the next requests of a kind go wrong."""
        assert fault in FAULTS
        self.faults += [(method, path, fault)] * times

    def cut_stream(self) -> None:
        """Close every connection of the stream."""
        for socket in list(self._sockets):
            with suppress(ConnectionClosed, OSError):
                socket.close()

    def restart(self, minutes: float) -> None:
        """Be away for so long; orders and positions survive, connections do not."""
        self.down_until = self.now + dt.timedelta(minutes=minutes)
        self.cut_stream()

    def refuse_streams(self, times: int) -> None:
        """Authorize nobody, so often."""
        self._refuse_streams = times

    # REST

    def handle(self, method: str, target: str, sent: bytes, keys: tuple[str | None, str | None]):
        """Status, body and what to do with the connection."""
        with self.lock:
            path, query = urlsplit(target).path, dict(parse_qsl(urlsplit(target).query))
            if self.engine.now < self.down_until:
                return 503, None, "cut"
            if keys != (KEY_ID, SECRET):
                # The real service does not send keys back; a venue that did must not bring them into a log.
                return 401, {"code": 40110000, "message": f"access key {keys[0]} {keys[1]} verification failed"}, ""
            if self._too_many():
                return 429, {"code": 42910000, "message": "rate limit exceeded"}, ""
            fault = next((f for f in self.faults if f[0] == method and path.startswith(f[1])), None)
            taken, how = True, ""
            if fault is not None:
                self.faults.remove(fault)
                self.struck[fault[2]] += 1
                taken, how = FAULTS[fault[2]]
            if taken == "late":
                self._late.append(self._request(json.loads(sent)))
            status, answer = (
                self._route(method, path, query, sent) if taken is True else (504, {"message": "gateway timeout"})
            )
            self._tell()
            if how == 403:
                return 403, {"code": 40310000, "message": "insufficient buying power"}, ""
            if how in (429, 500, 504):
                return how, {"code": how * 100000, "message": "try again"}, ""
            return status, answer if self.spoil is None else self.spoil(path, answer), how

    def _too_many(self) -> bool:
        now = self.engine.now.timestamp()
        while self._recent and self._recent[0] <= now - 60.0:
            self._recent.popleft()
        if len(self._recent) >= self.limit:
            return True
        self._recent.append(now)
        return False

    @property
    def remaining(self) -> int:
        return max(0, self.limit - len(self._recent))

    def _route(self, method: str, path: str, query: dict, sent: bytes):
        if method == "POST" and path == "/v2/orders":
            return self._post(json.loads(sent))
        if method == "DELETE" and path.startswith("/v2/orders/"):
            return self._delete(path.removeprefix("/v2/orders/"))
        if path == "/v2/orders:by_client_order_id":
            found = self.engine.order_by_client_id(query["client_order_id"])
            return (200, self.order(found)) if found else (404, {"code": 40410000, "message": "order not found"})
        answers = {
            "/v2/clock": self._clock, "/v2/calendar": self._calendar, "/v2/account": self._account,
            "/v2/positions": self._positions, "/v2/assets": self._assets, "/v2/orders": self._orders,
            "/v2/account/activities": self._activities, "/v2/stocks/bars": self._bars,
            "/v2/stocks/bars/latest": self._latest_bars,
        }  # fmt: skip
        return (200, answers[path](query)) if path in answers else (404, {"code": 40410000, "message": "not found"})

    def _request(self, body: dict) -> OrderRequest:
        session = self.engine._session_at(self.engine.clock())
        timing = Timing.OPENING if body["time_in_force"] == "opg" else Timing.DAY
        return OrderRequest(
            body["client_order_id"], body["symbol"], Side(body["side"]), Decimal(body["qty"]), timing, session
        )

    def _take(self, request: OrderRequest):
        if self.engine.order_by_client_id(request.client_id) is not None:
            self.twins[request.client_id] += 1
        try:
            found = self.engine.submit(request)
        except NotAccepted as error:
            return error
        self._sent_at[request.client_id] = self.engine.now
        return found

    def _post(self, body: dict):
        if not isinstance(body.get("qty"), str):
            return 422, {"code": 40010001, "message": "qty must be a string"}
        request = self._request(body)
        whole = request.quantity == request.quantity.to_integral_value()
        if body["time_in_force"] == "opg":
            hour = self.engine.now.astimezone(NEW_YORK).time()
            if not whole:
                return 422, {"code": 42210000, "message": "fractional orders must be DAY orders"}
            if dt.time(9, 28) < hour < dt.time(19):
                return 422, {"code": 42210000, "message": "opg orders are accepted after 7:00pm and before 9:28am"}
        found = self._take(request)
        if isinstance(found, NotAccepted):
            if "has been used" in str(found):
                return 422, {"code": 40010001, "message": "client_order_id must be unique"}
            return 403, {"code": 40310000, "message": str(found)}
        return 200, self.order(found)

    def _delete(self, venue_id: str):
        for order in self.engine.open_orders():
            if self._id(order) == venue_id:
                self.engine.cancel(order)
                return 204, None
        return 422, {"code": 42210000, "message": "order is not cancelable"}

    # Answers

    def _id(self, order) -> str:
        name = f"{order.symbol}{order.side}" if self.reuse_ids else order.client_id
        return str(uuid.uuid5(uuid.NAMESPACE_OID, name))

    def order(self, order) -> dict:
        """An order in the document's shape."""
        at = stamp(self._sent_at[order.client_id])
        session = sessions_between(order.session, order.session)[0]
        seen = order.filled
        if self.lag and order.filled and self.engine.now < session.opens + dt.timedelta(seconds=self.lag):
            seen = Decimal(0)
        status = {
            OrderState.OPEN: "partially_filled" if seen else "new" if self.engine.clock().is_open else "accepted",
            OrderState.FILLED: "filled", OrderState.CANCELLED: "canceled", OrderState.EXPIRED: "expired",
            OrderState.REJECTED: "rejected",
        }[order.state if seen == order.filled else OrderState.OPEN]  # fmt: skip
        row = self.engine._db.execute("SELECT timing FROM orders WHERE client_id = ?", (order.client_id,)).fetchone()
        return {
            "id": self._id(order), "client_order_id": order.client_id, "created_at": at, "updated_at": at,
            "submitted_at": at, "filled_at": at if status == "filled" else None, "expired_at": None,
            "expires_at": stamp(session.closes), "canceled_at": None, "failed_at": None, "replaced_at": None,
            "replaced_by": None, "replaces": None, "asset_id": asset_id(order.symbol), "symbol": order.symbol,
            "asset_class": "us_equity", "notional": None, "qty": f"{order.quantity:f}", "filled_qty": f"{seen:f}",
            "filled_avg_price": f"{order.average_price:f}" if seen else None, "order_class": "simple",
            "order_type": "market", "type": "market", "side": order.side.value,
            "time_in_force": "opg" if row["timing"] == "opening" else "day", "limit_price": None, "stop_price": None,
            "status": status, "extended_hours": False, "legs": None, "trail_percent": None, "trail_price": None,
            "hwm": None,
        }  # fmt: skip

    def _clock(self, query):
        clock = self.engine.clock()
        return {"timestamp": clock.now.astimezone(NEW_YORK).isoformat(), "is_open": clock.is_open,
                "next_open": clock.next_open.astimezone(NEW_YORK).isoformat(),
                "next_close": clock.next_close.astimezone(NEW_YORK).isoformat()}  # fmt: skip

    def _calendar(self, query):
        days = sessions_between(dt.date.fromisoformat(query["start"]), dt.date.fromisoformat(query["end"]))
        hours = [(s, s.opens.astimezone(NEW_YORK), s.closes.astimezone(NEW_YORK)) for s in days]
        return [
            {"date": str(s.day), "open": f"{opens:%H:%M}", "close": f"{closes:%H:%M}", "session_open": "0400",
             "session_close": "2000", "settlement_date": str(s.day + dt.timedelta(days=1))}
            for s, opens, closes in hours
        ]  # fmt: skip

    def _account(self, query):
        account = self.engine.account()
        money = f"{account.equity:f}"
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, "account")), "account_number": "PA3TEST00001",
            "status": "ACTIVE", "currency": "USD", "cash": f"{account.cash:f}", "equity": money,
            "portfolio_value": money, "buying_power": f"{account.buying_power:f}", "account_blocked": False,
            "trading_blocked": self.cash_blocked, "transfers_blocked": False, "trade_suspended_by_user": False,
            "multiplier": "1", "shorting_enabled": False, "created_at": "2020-01-02T00:00:00Z",
        }  # fmt: skip

    def _positions(self, query):
        found = []
        for held in self.engine.positions():
            price = held.price or Decimal(1)
            found.append({
                "asset_id": asset_id(held.symbol), "symbol": held.symbol, "exchange": "NASDAQ",
                "asset_class": "us_equity", "asset_marginable": True, "avg_entry_price": f"{price:f}",
                "qty": f"{held.quantity:f}", "qty_available": f"{held.quantity:f}", "side": "long",
                "market_value": f"{held.quantity * price:f}", "cost_basis": f"{held.quantity * price:f}",
                "unrealized_pl": "0", "unrealized_plpc": "0", "unrealized_intraday_pl": "0",
                "unrealized_intraday_plpc": "0", "current_price": f"{price:f}", "lastday_price": f"{price:f}",
                "change_today": "0",
            })  # fmt: skip
        return found

    def _assets(self, query):
        known = self.engine._quotes.assets().values()
        return [
            {"id": asset_id(a.symbol), "class": "us_equity", "exchange": "NASDAQ", "symbol": a.symbol,
             "name": f"{a.symbol} Inc.", "status": "active", "tradable": a.tradable, "marginable": True,
             "shortable": True, "easy_to_borrow": True, "fractionable": a.fractionable}
            for a in known
        ] if query.get("status") == "active" else []  # fmt: skip

    def _orders(self, query):
        everything = [self.order(o) for o in self.engine.orders(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))]
        rows = sorted([*everything, *self.foreign], key=lambda row: row["submitted_at"])
        done = ("filled", "canceled", "expired", "rejected")
        wanted = {"open": lambda row: row["status"] not in done, "closed": lambda row: row["status"] in done,
                  "all": lambda row: True}[query.get("status", "open")]  # fmt: skip
        after, until = query.get("after", ""), query.get("until", "9999")
        rows = [row for row in rows if wanted(row) and after < row["submitted_at"] < until]
        if query.get("direction", "desc") == "desc":
            rows.reverse()
        return rows[: min(500, int(query.get("limit", 50)))]

    def _activities(self, query):
        rows = self._fills() if query.get("activity_types") == "FILL" else self._other_activities()
        rows = [row for row in rows if row.pop("created") > dt.datetime.fromisoformat(query["after"])]
        ids = [row["id"] for row in rows]
        first = ids.index(query["page_token"]) + 1 if "page_token" in query else 0
        return rows[first : first + int(query.get("page_size", 100))]

    def _fills(self):
        found = []
        for fill in self.engine.executions(dt.datetime(2000, 1, 1, tzinfo=dt.UTC)):
            order = self.engine.order_by_client_id(fill.client_id)
            found.append({
                "created": fill.at, "id": activity_id(fill.at, fill.id), "activity_type": "FILL",
                "transaction_time": stamp(fill.at), "type": "fill", "price": f"{fill.price:f}",
                "qty": f"{fill.quantity:f}", "side": fill.side.value, "symbol": fill.symbol, "leaves_qty": "0",
                "order_id": self._id(order), "cum_qty": f"{order.filled:f}", "order_status": "filled",
            })  # fmt: skip
        return found

    def _other_activities(self):
        found = []
        for known in self.engine.activities(dt.date(2000, 1, 1)):
            created = sessions_between(known.day, known.day)[0].opens
            usual = {"created": created, "created_at": stamp(created), "date": f"{known.day}T00:00:00Z",
                     "symbol": known.symbol, "status": "executed", "currency": "USD"}  # fmt: skip
            if known.kind is ActivityKind.SPLIT:
                old = known.quantity / (known.ratio - 1)
                group = str(uuid.uuid5(uuid.NAMESPACE_OID, known.id))
                for what, quantity in (("old", -old), ("new", old * known.ratio)):
                    found.append({**usual, "id": activity_id(created, known.id + what), "activity_type": "SPLIT",
                                  "qty": f"{quantity:f}", "net_amount": "0", "group_id": group})  # fmt: skip
            else:
                found.append({**usual, "id": activity_id(created, known.id), "activity_type": "DIV", "qty": "1",
                              "net_amount": f"{known.cash:f}"})  # fmt: skip
        return found

    # Its data host

    def _bars(self, query):
        """Two hundred bars a page at most, in the order in which they were asked for."""
        first, last = (dt.datetime.fromisoformat(query[name]).date() for name in ("start", "end"))
        rows = [
            (symbol, self._bar(symbol, session.day))
            for symbol in query["symbols"].split(",") for session in sessions_between(first, last)
            if session.closes <= self.engine.now and symbol not in self.without_bars
        ]  # fmt: skip
        rows = [(symbol, bar) for symbol, bar in rows if bar is not None]
        begin, size = int(query.get("page_token", 0)), min(200, int(query["limit"]))
        page: dict[str, list] = {}
        for symbol, bar in rows[begin : begin + size]:
            page.setdefault(symbol, []).append(bar)
        more = begin + size < len(rows)
        return {"bars": page, "next_page_token": str(begin + size) if more else None}

    def _latest_bars(self, query):
        day = [s.day for s in sessions_between(self.now.date() - dt.timedelta(days=9), self.now.date())
               if s.closes <= self.engine.now][-1]  # fmt: skip
        found = {symbol: self._bar(symbol, day) for symbol in query["symbols"].split(",")}
        return {"bars": {symbol: bar for symbol, bar in found.items() if bar is not None}}

    def _bar(self, symbol, day):
        quote = (self.engine._quotes.day(day) or {}).get(symbol)
        if quote is None:
            return None
        prices = [float(quote.open), float(quote.close)]
        at = dt.datetime.combine(day, dt.time(), NEW_YORK).astimezone(dt.UTC)
        return {"t": f"{at:%Y-%m-%dT%H:%M:%SZ}", "o": prices[0], "h": max(prices), "l": min(prices), "c": prices[1],
                "v": 1000, "n": 10, "vw": sum(prices) / 2}  # fmt: skip

    # Stream

    def _stream(self, socket) -> None:
        """One connection: authenticate, listen, then stay until it is closed."""
        try:
            hello = json.loads(socket.recv(timeout=5))
            if self.now < self.down_until:
                return
            right = hello["data"] == {"key_id": KEY_ID, "secret_key": SECRET} and not self._refuse_streams
            self._refuse_streams = max(0, self._refuse_streams - 1)
            status = "authorized" if right else "unauthorized"
            data = {"status": status, "action": "authenticate"}
            socket.send(json.dumps({"stream": "authorization", "data": data}).encode())
            if not right:
                return
            json.loads(socket.recv(timeout=5))
            with self.lock:
                socket.send(json.dumps({"stream": "listening", "data": {"streams": ["trade_updates"]}}).encode())
                self._sockets.append(socket)
                self.streams += 1
            for _ in socket:
                pass
        except (ConnectionClosed, TimeoutError):
            return
        finally:
            if socket in self._sockets:
                self._sockets.remove(socket)

    def _tell(self) -> None:
        """Send what happened; with every fault that the stream has."""
        events = [u for u in self.engine.updates(0.0) if not any(word in u.event for word in self.deaf)]
        if self.twice:
            events = [*reversed(events), *events]
        for update in events:
            order = self.order(self.engine.order_by_client_id(update.client_id))
            data = {"event": update.event, "order": order, "timestamp": stamp(self.engine.now)}
            for socket in list(self._sockets):
                with suppress(ConnectionClosed, OSError):
                    socket.send(json.dumps({"stream": "trade_updates", "data": data}).encode())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536  # headers and body together: apart, each answer waits for the other side's word
    loopback: Loopback

    def log_message(self, *_):
        return

    def _serve(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        keys = self.headers.get("APCA-API-KEY-ID"), self.headers.get("APCA-API-SECRET-KEY")
        status, answer, how = self.loopback.handle(self.command, self.path, sent, keys)
        body = b"" if answer is None else json.dumps(answer).encode()
        hidden = {name.lower(): "***" if name.lower().startswith("apca") else value
                  for name, value in self.headers.items()}  # fmt: skip
        seen = None if how else status
        self.loopback.exchanges.append(Exchange(self.command, self.path, hidden, sent, seen, body))
        if how == "cut":
            self.close_connection = True
            return
        if how == "hang":
            time.sleep(self.loopback.hang)
        if how in ("page", "lost page"):
            status, body = 200 if how == "page" else 404, b"<html>the gateway's own page</html>"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-RateLimit-Limit", str(self.loopback.limit))
        self.send_header("X-RateLimit-Remaining", str(self.loopback.remaining))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if how == "half" else body)
        if how == "half":
            self.close_connection = True

    def handle_one_request(self):
        with suppress(ConnectionError):
            super().handle_one_request()

    do_GET = do_POST = do_DELETE = _serve


def asset_id(symbol: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"asset {symbol}"))


def activity_id(at: dt.datetime, name: str) -> str:
    return f"{at:%Y%m%d%H%M%S}000::{uuid.uuid5(uuid.NAMESPACE_OID, name)}"


def stamp(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S.%f}Z"

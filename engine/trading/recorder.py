"""A backtrader analyzer that writes down what a strategy did, so that anyone's own run can be judged."""

from __future__ import annotations

import inspect
import types

import backtrader as bt
import numpy as np
import pandas as pd

from clusterfolio.engine.trading.account import BAR_COLUMNS, Account, AccountError, hash_of, plain
from clusterfolio.feeds.bt_feed import EPOCH

#: Modules of classes that are no part of a strategy's own source.
NOT_OWN = ("backtrader", "builtins")


class RunRecorder(bt.Analyzer):
    """Writes down per bar what the account is worth and holds, and every fill; add it to any Cerebro.

    It changes nothing of what the strategy does. A bar costs a row with the positions that are open, whatever the
    number of feeds; the feeds' own prices are taken once, at the end.

    ``judge`` takes the strategy that ``cerebro.run()`` returns, or this analyzer. The tables are there for any other
    use too: ``returns``, ``positions``, ``transactions`` and ``bars``, with the figures of backtrader's ``TimeReturn``,
    ``PositionsValue`` and ``Transactions``.

    >>> class Buy(bt.Strategy):
    ...     def next(self):
    ...         if not self.position:
    ...             self.buy(size=1)
    >>> days = pd.bdate_range("2024-01-01", periods=4)
    >>> bars = pd.DataFrame({name: [10.0, 11.0, 12.0, 12.0] for name in ("open", "high", "low", "close")}, days)
    >>> cerebro = bt.Cerebro()
    >>> _ = cerebro.adddata(bt.feeds.PandasData(dataname=bars), name="ACME")
    >>> _ = cerebro.addstrategy(Buy)
    >>> _ = cerebro.addanalyzer(RunRecorder)
    >>> recorder = cerebro.run()[0].analyzers.runrecorder
    >>> recorder.transactions[["symbol", "amount", "price"]].to_dict("records")
    [{'symbol': 'ACME', 'amount': 1.0, 'price': 11.0}]
    >>> recorder.returns.round(6).tolist()
    [0.0, 0.0, 0.0001, 0.0]
    """

    def start(self):
        """Called before the first bar."""
        broker = self.strategy.broker
        self._names = _names(self.strategy.datas)
        self._waiting: list[tuple] = []  # fills since the last bar
        self._open: dict = {}  # by feed with an open position: value of a point of its price
        self._funds = broker.getcash(), broker.getvalue(), broker.fundvalue, broker.fundshares
        self._first_funds = self._funds
        self._rows: list[tuple] = []
        self._fills: list[tuple] = []

    def notify_fund(self, cash, value, fundvalue, shares):
        """Note what the account is worth, before the bar is written down."""
        self._funds = cash, value, fundvalue, shares

    def notify_order(self, order):
        """Note every part of an order that was filled."""
        if order.status not in (bt.Order.Partial, bt.Order.Completed):
            return
        feed = order.data
        for part in order.executed.iterpending():
            if part is None:
                break
            self._waiting.append((feed, part.size, part.price, part.comm, order.exectype))
        self._open[feed] = _point(self.strategy.broker.getcommissioninfo(feed))

    def prenext(self):
        """Called on every bar, also before every feed has begun."""
        self.next()

    def next(self):
        """Write the bar down."""
        moment = self.strategy.lines.datetime[0]
        if self._waiting:
            self._fills += [(moment, self._names[feed], *fill, self._open[feed]) for feed, *fill in self._waiting]
            self._waiting.clear()
        positions, held = self.strategy.broker.positions, {}
        for feed, point in list(self._open.items()):
            size = positions[feed].size
            if size:
                held[self._names[feed]] = size * feed.close[0] * point
            else:
                del self._open[feed]
        self._rows.append((moment, *self._funds, held))

    def stop(self):
        """Take the strategy's description and the feeds' prices, once."""
        strategy, broker = self.strategy, self.strategy.broker
        self.described = describe_strategy(strategy)
        self._cheats = bool(getattr(broker.p, "coc", False))
        self._slips = bool(getattr(broker.p, "slip_perc", 0.0) or getattr(broker.p, "slip_fixed", 0.0))
        self.bars = {name: _read(feed) for feed, name in self._names.items()}
        self._unkept = [name for feed, name in self._names.items() if _kept(feed) < len(feed)]
        self._sharing = len(strategy.cerebro.strats) - 1
        self._unseen = [
            self._names.get(feed, "a feed of another strategy")
            for feed, held in list(broker.positions.items())
            if held.size and feed not in self._open
        ]
        self._names, self._open = {}, {}  # nothing points to the feeds any more: the recorder can be pickled

    @property
    def returns(self) -> pd.Series:
        """Simple returns by day: as backtrader's ``TimeReturn``, but of the money that was there, where any was paid in
        or out (``add_cash``).
        """
        rows = self._by_day()
        funds = np.array([self._first_funds, *(row[:4] for row in rows.values())], dtype=float)
        _, value, worth, shares = funds.T
        paid = np.diff(shares) * worth[:-1]
        return pd.Series(value[1:] / (value[:-1] + paid) - 1.0, _days(rows), name="returns")

    @property
    def positions(self) -> pd.DataFrame:
        """Value of each position by symbol, and the broker's ``cash``, at each day's close: as ``PositionsValue``.

        A future's is its size times its price times its multiplier.
        """
        rows = self._by_day()
        table = pd.DataFrame([row[4] for row in rows.values()], index=_days(rows), dtype=float)
        return table.sort_index(axis=1).fillna(0.0).assign(cash=[row[0] for row in rows.values()])

    @property
    def transactions(self) -> pd.DataFrame:
        """A row per fill: date, symbol, amount (signed), price, commission, and the type of its order."""
        rows = [(int(day), *fill, bt.Order.ExecTypes[order]) for day, *fill, order, _ in self._fills]
        table = pd.DataFrame(rows, columns=["date", "symbol", "amount", "price", "commission", "order"])
        return table.assign(date=_stamps(table["date"])).astype(dict.fromkeys(["amount", "price", "commission"], float))

    def get_analysis(self) -> dict:
        """The tables, by name."""
        return {name: getattr(self, name) for name in ("returns", "positions", "transactions")}

    def account(self) -> Account:
        """What the account did, for ``judge``.

        Raises:
            AccountError: the run cannot be judged; the message says why.
        """
        if why := self._why_not():
            raise AccountError(f"the run cannot be judged: {why}")
        returns, positions = self.returns, self.positions
        value = pd.Series([row[1] for row in self._by_day().values()], returns.index)
        # What is borrowed, or lies as margin, counts as cash: value is what remains when everything is closed.
        positions["cash"] = value - positions.drop(columns="cash").sum(axis=1)
        daily = {name: frame for name, frame in self.bars.items() if len(frame) and not _several_a_day(frame)}
        return Account(
            returns=returns,
            positions=positions,
            transactions=self._charged(daily),
            prices={name: frame.set_axis(frame.index.normalize()) for name, frame in daily.items()},
            name=self.described["class"],
            source=self.described["source"],
            parameters=self.described["parameters"],
            cheat_on_close=self._cheats,
            notes=self._notes(daily),
        )

    def _charged(self, daily: dict[str, pd.DataFrame]) -> pd.DataFrame:
        """The fills, a future's in shares of its price, with what slippage took of a market order against the open."""
        fills = self.transactions
        fills["amount"] *= [point for *_, point in self._fills]
        slipped = np.zeros(len(fills))
        if self._slips and not self._cheats:
            opens = {
                (name, day): price
                for name in fills["symbol"].unique()
                for day, price in daily.get(name, pd.DataFrame({"open": []}))["open"].items()
            }
            at_open = [opens.get(key, np.nan) for key in zip(fills["symbol"], fills["date"], strict=True)]
            lost = fills["amount"] * (fills["price"] - np.array(at_open, dtype=float))
            slipped = lost.where((fills["order"] == "Market") & (lost > 0), 0.0).to_numpy()
        return fills.drop(columns="order").assign(spread=slipped)

    def _why_not(self) -> str:
        """Why no figure could be believed; "" where nothing stands against it."""
        if not self._rows:
            return "the strategy saw no bar"
        if self._sharing:
            return f"{self._sharing + 1} strategies shared one account; run each in a Cerebro of its own"
        if self._unkept:
            return f"of {self._unkept[0]} only the last bars were kept; run the Cerebro without exactbars"
        if self._unseen:
            return f"no order of the strategy opened its position in {self._unseen[0]}"
        unknown = [int(moment) for moment, _, value, *_ in self._rows if not np.isfinite(value)]
        if unknown:
            day = _stamps(pd.Series(unknown[:1]))[0].date()
            return f"the account's value on {day} is no number: a feed that was held has a bar without a close"
        held = set(self.positions.columns) | {fill[1] for fill in self._fills}
        within = [name for name, frame in self.bars.items() if name in held and _several_a_day(frame)]
        if within:
            return (
                f"{within[0]} has several bars a day and was traded; judged are accounts of daily bars (feed those, or "
                "state the account day by day: Account)"
            )
        return ""

    def _notes(self, daily: dict[str, pd.DataFrame]) -> tuple[str, ...]:
        aside = [name for name in self.bars if name not in daily]
        if not aside:
            return ()
        return (f"Left aside, as they have no daily bars: {', '.join(aside)}.",)

    def _by_day(self) -> dict[int, tuple]:
        """The last row of each day, without its moment."""
        return {int(moment): tuple(row) for moment, *row in self._rows}


def describe_strategy(strategy: bt.Strategy) -> dict:
    """What tells one trial from another: ``class``, ``source`` (a hash) and ``parameters``, plain values."""
    kind = type(strategy)
    own = [base for base in kind.__mro__ if base.__module__.partition(".")[0] not in NOT_OWN]
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "source": hash_of("\n".join(_source(base) for base in own)),
        "parameters": plain(dict(strategy.params._getkwargs())),
    }


def _source(kind: type) -> str:
    """Its source text; where that is nowhere to be read (typed at a prompt), what its functions were compiled to."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        functions = {name: item for name, item in vars(kind).items() if isinstance(item, types.FunctionType)}
        return "\n".join(f"{name} {_compiled(function.__code__)}" for name, function in sorted(functions.items()))


def _compiled(code: types.CodeType) -> str:
    constants = [_compiled(item) if isinstance(item, types.CodeType) else repr(item) for item in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {constants}"


def _names(feeds) -> dict:
    """Each feed's name; one without gets a number, and so does a name that was given before."""
    names: dict = {}
    for number, feed in enumerate(feeds):
        name = feed._name or f"Data{number}"
        names[feed] = f"{name} ({number})" if name in names.values() else name
    return names


def _point(costs: bt.CommInfoBase) -> float:
    """What a point of the price is worth: a future's multiplier, 1 for a share."""
    return 1.0 if costs.stocklike else float(costs.p.mult)


def _read(feed) -> pd.DataFrame:
    """The bars that a feed has delivered, index their moments; the newest only, where the others were not kept."""
    n_bars = _kept(feed)
    if not n_bars:
        return pd.DataFrame(columns=list(BAR_COLUMNS), index=pd.DatetimeIndex([]), dtype=float)
    lines = {name: np.asarray(getattr(feed.lines, name).get(size=n_bars), dtype=float) for name in BAR_COLUMNS}
    numbers = np.asarray(feed.lines.datetime.get(size=n_bars), dtype=float)
    # In backtrader's own time, as the days of the account are: a feed's time zone only changes how they are shown. The
    # end of a session, 23:59:59.99999, would round to the next day.
    ends = (np.floor(numbers - EPOCH) + 1) * 86_400_000 - 1
    moments = pd.DatetimeIndex(np.minimum(np.round((numbers - EPOCH) * 86_400_000), ends).astype("datetime64[ms]"))
    bars = pd.DataFrame(lines, moments.as_unit("ns"))
    # The bar on which a stopped asset is sold (feeds.bt_feed) is no trade of anyone.
    terminal = np.asarray(feed.lines.terminal.get(size=n_bars)) > 0 if hasattr(feed.lines, "terminal") else None
    return bars if terminal is None else bars[~terminal]


def _kept(feed) -> int:
    """How many of its bars a feed still has; all, but for ``exactbars``."""
    return min(len(feed), len(feed.lines.datetime.array))


def _several_a_day(frame: pd.DataFrame) -> bool:
    return bool(frame.index.normalize().duplicated().any())


def _days(rows) -> pd.DatetimeIndex:
    return _stamps(pd.Series(list(rows), dtype="int64")).rename("date")


def _stamps(numbers: pd.Series) -> pd.DatetimeIndex:
    """backtrader's whole day numbers as days."""
    return pd.DatetimeIndex((numbers.to_numpy(dtype=np.int64) - EPOCH).astype("datetime64[D]").astype("datetime64[ns]"))

"""What random names would have earned in a strategy's place: for a strategy that states no clusters to pick from.

The account's positions tell what part of it was at stake in how many names over every night and every day. Portfolios
drawn by lot have the same parts at stake at the same times, in other names: whenever the strategy opens a position, a
name is drawn for it among those that could be bought then, and kept until the strategy closes it. So they differ from
the strategy in nothing but which names they hold: exposure, number of names, dates, interest on the cash and, charged
alike, costs are its own. Their mean, in which every name that could have been drawn is held equally, is what the
strategy's picks are tested against. Where there is one name only, nothing can be drawn: the strategy is tested against
holding it all the time at its own average exposure.

Positions are taken to change at the session's open, those filled at a close there; what other fills gained against
that stays with the strategy and is told (``Exposure.elsewhere``). Short positions are negative parts, so names drawn
for them are sold short.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd

from clusterfolio.engine.evidence.luck import Luck, measured
from clusterfolio.engine.trading.metrics import cash_per_session
from clusterfolio.engine.trading.vectorised import Simulated
from clusterfolio.feeds.panel import Panel

#: A position worth less than this fraction of the account is none: what rounding leaves behind.
NOTHING = 1e-9
#: The return of an account that is gone: nothing less is left, and its logarithm still is a number.
GONE = -1.0 + 1e-12


@dataclass(frozen=True)
class Spell:
    """A position from its opening to its close.

    Attributes:
        asset: column of ``Exposure.overnight``.
        first: row on which it was opened.
        last: row on which it was closed; the last row where it still is open.
        side: 1 = long, -1 = short.
    """

    asset: int
    first: int
    last: int
    side: int = 1


@dataclass(frozen=True)
class Exposure:
    """Fractions of the account at stake, and what names earned meanwhile; all ``(n_sessions, n_assets)``.

    Attributes:
        sessions: as of the account's returns.
        symbols: that could be held.
        overnight: from the close before to the open, as a fraction of the account at the close before.
        daily: from the open to the close, of the same.
        night, day: simple returns over the same two spans; 0 where a name did not trade.
        could_be_bought: whether a name has a bar on the session and was in the universe at the close before.
        spells: positions, in order of their opening.
        rate: what cash in the account earned, as a simple return per session, ``(n_sessions,)``.
        elsewhere: what the account earned before costs beyond what its exposures and its cash did, ``(n_sessions,)``:
            fills at other prices than the open or a close.
    """

    sessions: pd.DatetimeIndex
    symbols: pd.Index
    overnight: np.ndarray
    daily: np.ndarray
    night: np.ndarray
    day: np.ndarray
    could_be_bought: np.ndarray
    spells: list[Spell]
    rate: np.ndarray
    elsewhere: np.ndarray

    @property
    def interest(self) -> np.ndarray:
        """What the cash of an account with these exposures earns, as a fraction of the account, ``(n_sessions,)``."""
        return self.rate * (1 - self.overnight.sum(axis=1))

    @property
    def average(self) -> float:
        """Mean fraction of the account at stake, short positions as negative."""
        return float((self.overnight.sum(axis=1).mean() + self.daily.sum(axis=1).mean()) / 2)

    @property
    def held(self) -> float:
        """Mean number of names held, over the sessions on which any is."""
        count = (np.abs(self.daily) > NOTHING).sum(axis=1)
        return float(count[count > 0].mean()) if (count > 0).any() else 0.0


def exposure_of(
    panel: Panel,
    positions: pd.DataFrame,
    returns: pd.DataFrame,
    transactions: pd.DataFrame,
    at_close_before: bool = False,
    cash: pd.Series | None = None,
) -> Exposure:
    """What an account was exposed to.

    Args:
        panel: prices of every name that could have been held.
        positions: value by symbol and ``cash``, at the session before the first of ``returns`` and at each of its own.
        returns: simple daily returns of the account after and before costs, columns ``net`` and ``gross``.
        transactions: columns ``date, symbol, level, value`` of the fills; the level is a price of the panel's.
        at_close_before: orders fill at the close that they were decided on (backtrader's cheat-on-close); the fill is
            booked on the session after, at the price of the close before.
        cash: what cash in the account earned, a simple return per session; None = nothing.

    Raises:
        ValueError: a position in a name that the panel does not have.
    """
    held = [name for name in positions.columns if name != "cash" and (positions[name].abs() > 0).any()]
    unknown = [name for name in held if name not in panel.symbols]
    if unknown:
        raise ValueError(f"positions: no prices of {', '.join(unknown[:5])}, which the account held")
    symbols = pd.Index([name for name in panel.symbols if name in set(panel.tradable) | set(held)], dtype=object)
    account = positions.sum(axis=1).to_numpy(dtype=float)
    net, gross = (returns[name].to_numpy(dtype=float) for name in ("net", "gross"))
    before_session = account[1:] / (1 + net)  # with what was paid in, where anything was
    values = positions.reindex(columns=symbols, fill_value=0.0).to_numpy(dtype=float)
    night, day, bought = _returns(panel, symbols, pd.DatetimeIndex(positions.index))
    at_close, early = _closing(panel, symbols, returns.index, transactions, at_close_before)
    overnight = _clean((values[:-1] + early) / before_session[:, None])
    daily = _clean((values[1:] - at_close) / (1 + day) / before_session[:, None])
    earned = (overnight * night + daily * day).sum(axis=1)
    rate = np.zeros(len(returns)) if cash is None else cash_per_session(cash, returns.index).to_numpy(dtype=float)
    earned += rate * (1 - overnight.sum(axis=1))
    return Exposure(
        sessions=pd.DatetimeIndex(returns.index),
        symbols=symbols,
        overnight=overnight,
        daily=daily,
        night=night,
        day=day,
        could_be_bought=bought,
        spells=_spells(np.sign(_clean(values / account[:, None])), daily),
        rate=rate,
        elsewhere=gross - earned,
    )


def _clean(parts: np.ndarray) -> np.ndarray:
    return np.where(np.abs(parts) > NOTHING, parts, 0.0)


def _returns(panel: Panel, symbols: pd.Index, sessions: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns over each night and day but the first session's, 0 by day without a bar; and who could be bought."""
    close = panel.close[symbols].ffill().reindex(sessions, method="ffill").to_numpy(dtype=float)
    bars = panel.open[symbols].reindex(sessions).to_numpy(dtype=float)[1:]
    trades = np.isfinite(bars) & panel.close[symbols].reindex(sessions).notna().to_numpy()[1:]
    opens = np.where(trades, bars, close[1:])
    with np.errstate(invalid="ignore", divide="ignore"):
        night = np.nan_to_num(opens / close[:-1] - 1, posinf=0.0, neginf=0.0)
        day = np.nan_to_num(close[1:] / opens - 1, posinf=0.0, neginf=0.0)
    member = panel.members_on(sessions[:-1])[symbols].to_numpy(dtype=bool)
    return night, day, trades & member


def _closing(
    panel: Panel, symbols: pd.Index, sessions: pd.DatetimeIndex, transactions: pd.DataFrame, at_close_before: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Value bought less sold at each session's close, and at the close before; ``(n_sessions, n_assets)`` both."""
    at_close, before = np.zeros((2, len(sessions), len(symbols)))
    row, column = sessions.get_indexer(transactions["date"]), symbols.get_indexer(transactions["symbol"])
    known = (row >= 0) & (column >= 0)
    price, value = (transactions[name].to_numpy(dtype=float)[known] for name in ("level", "value"))
    row, column = row[known], column[known]
    opens, closes = (
        frame[symbols].reindex(sessions).to_numpy(dtype=float)[row, column] for frame in (panel.open, panel.close)
    )
    if at_close_before:
        earlier = panel.session_closes()[symbols].shift(1).reindex(sessions).to_numpy(dtype=float)[row, column]
        late = np.isclose(price, earlier, rtol=1e-9, atol=0.0)
        np.add.at(before, (row[late], column[late]), value[late])
    else:
        late = np.zeros(len(price), dtype=bool)
    last = ~late & np.isclose(price, closes, rtol=1e-9, atol=0.0) & ~np.isclose(price, opens, rtol=1e-9, atol=0.0)
    np.add.at(at_close, (row[last], column[last]), value[last])
    return at_close, before


def _spells(signs: np.ndarray, within: np.ndarray) -> list[Spell]:
    """Stretches of one sign, and what was bought and sold again within a session.

    Args:
        signs: of the positions at the close before the first row and at each row's, ``(n_sessions + 1, n_assets)``.
        within: what was at stake by day, ``(n_sessions, n_assets)``.
    """
    found, covered = [], np.zeros(within.shape, dtype=bool)
    for asset in np.flatnonzero(signs.any(axis=0)):
        column = signs[:, asset]
        edges = np.flatnonzero(np.diff(column)) + 1
        for start, end in zip([0, *edges], [*edges, len(column)], strict=True):
            if column[start]:
                # Row r ends at the close r + 1: opened in row start - 1, closed in row end - 1.
                first, last = max(int(start) - 1, 0), min(int(end) - 1, len(within) - 1)
                covered[first : last + 1, asset] = True
                found.append(Spell(int(asset), first, last, int(column[start])))
    for row, asset in zip(*np.nonzero(np.where(covered, 0.0, within)), strict=True):
        found.append(Spell(int(asset), int(row), int(row), int(np.sign(within[row, asset]))))
    return sorted(found, key=lambda spell: (spell.first, spell.asset))


# What other names earned at the same exposure ----------------------------------------------------------------------


def average_name(exposure: Exposure) -> pd.Series | None:
    """Daily return, before costs, of the mean of all portfolios of other names; None where nothing was ever held.

    Where there is one name only: what holding it earned, at the strategy's average exposure throughout.
    """
    if not exposure.spells:
        return None
    if len(exposure.symbols) == 1:
        whole = (1 + exposure.night[:, 0]) * (1 + exposure.day[:, 0]) - 1
        idle = (1 - exposure.average) * exposure.rate
        return pd.Series(exposure.average * whole + idle, exposure.sessions)
    earned = exposure.interest
    for spell in exposure.spells:
        names, rows = _could_be_drawn(exposure, spell.first), slice(spell.first, spell.last + 1)
        overnight, daily = _parts(exposure, spell)
        earned[rows] += overnight * exposure.night[rows][:, names].mean(axis=1)
        earned[rows] += daily * exposure.day[rows][:, names].mean(axis=1)
    return pd.Series(earned, exposure.sessions)


def _could_be_drawn(exposure: Exposure, row: int) -> np.ndarray:
    """Columns of the names that could be bought on a session; of all, where none could."""
    names = np.flatnonzero(exposure.could_be_bought[row])
    return names if len(names) else np.arange(len(exposure.symbols))


def _parts(exposure: Exposure, spell: Spell) -> tuple[np.ndarray, np.ndarray]:
    """A spell's exposure by night and by day, over its rows.

    Where a long position is turned into a short one at an open, the night is the old spell's and the day the new one's.
    """
    rows = slice(spell.first, spell.last + 1)
    both = exposure.overnight[rows, spell.asset], exposure.daily[rows, spell.asset]
    return tuple(np.where(np.sign(parts) == spell.side, parts, 0.0) for parts in both)


def random_names(
    exposure: Exposure, costs: np.ndarray, cash: pd.Series, n: int = 1000, random_state: int = 0
) -> Luck | None:
    """What ``n`` portfolios of names drawn by lot earn; None where nothing can be drawn.

    Args:
        costs: the strategy's, as a fraction of the account, ``(n_sessions,)``; the portfolios are charged the same.
        cash: simple return of cash per session.
    """
    if n < 1:
        raise ValueError(f"n: got {n}, expected at least 1")
    if len(exposure.symbols) < 2 or not exposure.spells:
        return None
    rng = np.random.default_rng([random_state, 0])
    gross = np.tile(exposure.interest, (n, 1))
    kept: list[tuple[Spell, np.ndarray]] = []
    for row, opened in groupby(exposure.spells, key=lambda spell: spell.first):
        # What is closed at this open is sold before anything is bought: its name may be drawn again.
        kept = [(spell, names) for spell, names in kept if spell.last > row]
        new = list(opened)
        drawn = _draw(exposure, row, [names for _, names in kept], len(new), n, rng)
        for spell, names in zip(new, drawn.T, strict=True):
            rows, (overnight, daily) = slice(spell.first, spell.last + 1), _parts(exposure, spell)
            gross[:, rows] += (overnight[:, None] * exposure.night[rows][:, names]).T
            gross[:, rows] += (daily[:, None] * exposure.day[rows][:, names]).T
            kept.append((spell, names))
    gross = np.maximum(gross, GONE)
    net, none = np.maximum(gross - costs, GONE), np.zeros(n)
    return measured(Simulated(exposure.sessions, net, gross, none, none, none, none), cash)


def _draw(
    exposure: Exposure, row: int, taken: list[np.ndarray], count: int, n: int, rng: np.random.Generator
) -> np.ndarray:
    """``count`` different names for each portfolio, none that it holds already as long as there are others.

    Args:
        taken: names held, ``(n,)`` each.

    Returns:
        Columns, shape ``(n, count)``.
    """
    names = _could_be_drawn(exposure, row)
    place = np.full(len(exposure.symbols), -1)
    place[names] = np.arange(len(names))
    lots = rng.random((n, len(names)))
    for held in taken:
        at = place[held]
        lots[np.flatnonzero(at >= 0), at[at >= 0]] += 1.0  # behind all that are free
    return names[np.argsort(lots, axis=1)[:, np.arange(count) % len(names)]]

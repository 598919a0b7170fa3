"""backtrader's orders and trades, made, copied and filled without its general machinery.

An order goes through some twenty small steps between the strategy that sends it and the trade that is told of its fill:
keyword arguments sorted out by a metaclass, generic copies for each notification, objects made to hold one sum. The
steps that remain here leave the same objects with the same attributes.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from backtrader import Order, Strategy, Trade
from backtrader.order import OrderData, OrderExecutionBit
from backtrader.utils import AutoOrderedDict

from clusterfolio.engine.trading.clock_lines import Ticker

_DEFAULTS = dict(Order.params._getkwargsdefault())
_TRAILING = (Order.StopTrail, Order.StopTrailLimit)


def make_order(kind: type, ticker: Ticker, terms: dict[str, Any]) -> Any:
    """``kind(**terms)``, an order that a broker makes during the clock's run.

    Orders that expire or trail go through backtrader's own construction.
    """
    made: Any = kind
    order, parameters = object.__new__(made), object.__new__(made.params)
    parameters.__dict__ = values = _DEFAULTS | terms
    exectype, parent = values["exectype"], values["parent"]
    if values["valid"] is not None or exectype in _TRAILING:
        order.params = order.p = parameters
        order.__init__()
        return order
    data, size, price, limit = values["data"], values["size"], values["price"], values["pricelimit"]
    line, dates = data.close, data.datetime
    close = line.array[line._reached[ticker.row]]
    moment = dates.array[dates._reached[ticker.row]]
    if made.ordtype == Order.Sell:
        size = -size
    if not price:
        price = limit or close  # nothing asked for: what the asset costs now
    order.__dict__ = {
        "params": parameters,
        "p": parameters,
        "data": data,
        "owner": values["owner"],
        "ref": next(made.refbasis),
        "broker": None,
        "info": AutoOrderedDict(),
        "comminfo": None,
        "triggered": False,
        "_active": parent is None,
        "status": Order.Created,
        "_plimit": limit,
        "exectype": Order.Market if exectype is None else exectype,
        "size": size,
        "created": _order_data(moment, size, 0, price, limit or price, limit, close, values),
        "_limitoffset": 0.0,
        "executed": _order_data(None, 0, size, 0.0, 0.0, 0.0, 0.0, _UNTRAILED),
        "position": 0,
        "dteos": ticker.session_end(data, moment),
    }
    return order


_UNTRAILED = {"trailamount": 0.0, "trailpercent": 0.0}


def _order_data(dt, size, remaining, price, price_limit, limit, close, trail) -> OrderData:
    data = object.__new__(OrderData)
    data.__dict__ = {
        "pclose": close,
        "exbits": deque(),
        "p1": 0,
        "p2": 0,
        "dt": dt,
        "size": size,
        "remsize": remaining,
        "price": price,
        "pricelimit": price_limit,
        "trailamount": trail["trailamount"],
        "trailpercent": trail["trailpercent"],
        "_plimit": limit,
        "value": 0.0,
        "comm": 0.0,
        "margin": None,
        "pnl": 0.0,
        "psize": 0,
        "pprice": 0,
    }
    return data


def clone(order) -> Any:
    """``order.clone()``."""
    executed = order.executed
    done = executed.__dict__
    done["p1"], done["p2"] = done["p2"], len(done["exbits"])
    twin, copied = object.__new__(type(order)), object.__new__(type(executed))
    copied.__dict__ = done.copy()
    twin.__dict__ = own = order.__dict__.copy()
    own["executed"] = copied
    return twin


def fill(order, moment, size, price, closed, closed_value, closed_commission, opened, opened_value, opened_commission,
         margin, pnl, held, cost) -> None:  # fmt: skip
    """``order.execute`` of a size that is not 0."""
    executed = order.executed
    bit = OrderExecutionBit(
        moment, size, price, closed, closed_value, closed_commission, opened, opened_value, opened_commission, pnl,
        held, cost,
    )  # fmt: skip
    executed.exbits.append(bit)
    executed.remsize = remaining = executed.remsize - size
    executed.dt = moment
    before, executed.size = executed.size, executed.size + size
    executed.price = (before * executed.price + size * price) / executed.size
    executed.value += bit.value
    executed.comm += bit.comm
    executed.pnl += pnl
    executed.psize, executed.pprice, executed.margin = held, cost, margin
    order.status = Order.Partial if remaining else Order.Completed


def split(held, size) -> tuple[Any, Any, Any]:
    """What becomes of a position by a trade: units held then, opened and closed by it."""
    left = held + size
    if not left:
        return left, 0, size
    if not held:
        return left, size, 0
    if held > 0:
        if size > 0:
            return left, size, 0
        return (left, 0, size) if left > 0 else (left, left, -held)
    if size < 0:
        return left, size, 0
    return (left, 0, size) if left < 0 else (left, left, -held)


def note(strategy, order) -> None:
    """``strategy._addnotification(order)``."""
    data, executed = order.data, order.executed
    own = "_addnotification" in strategy.__dict__ or type(strategy)._addnotification is not Strategy._addnotification
    if own or data._compensate is not None:
        strategy._addnotification(order)
        return
    strategy._orderspending.append(order)
    if not executed.size:
        return
    tradeid = order.__dict__.get("tradeid", order.p.tradeid)
    trades, told = strategy._trades[data][tradeid], strategy._tradespending
    if not trades:
        trades.append(Trade(data=data, tradeid=tradeid, historyon=strategy._tradehistoryon))
    trade = trades[-1]
    for bit in executed.iterpending():
        if bit.closed:
            trade.update(
                order, bit.closed, bit.price, bit.closedvalue, bit.closedcomm, bit.pnl, comminfo=order.comminfo
            )
            if trade.isclosed:
                told.append(_twin(trade))
        if bit.opened:
            if trade.isclosed:
                trade = Trade(data=data, tradeid=tradeid, historyon=strategy._tradehistoryon)
                trades.append(trade)
            trade.update(
                order, bit.opened, bit.price, bit.openedvalue, bit.openedcomm, bit.pnl, comminfo=order.comminfo
            )
            if trade.isclosed:
                told.append(_twin(trade))
        if trade.justopened:
            told.append(_twin(trade))


def _twin(trade: Trade) -> Trade:
    """``copy.copy(trade)``."""
    twin = object.__new__(Trade)
    twin.__dict__ = trade.__dict__.copy()
    return twin

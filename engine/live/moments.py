"""When an order may be sent such that it can fill on its own session and on no other."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from clusterfolio.engine.live.venue import NotAccepted, OrderRequest, Session

NEW_YORK = ZoneInfo("America/New_York")


def check_moment(
    request: OrderRequest, now: dt.datetime, sessions: Sequence[Session], *, margin: dt.timedelta,
    auction: tuple[dt.time, dt.timedelta] | None = None,
) -> None:  # fmt: skip
    """Refuse what could fill on another session than the planned one.

    Args:
        now: by the venue's clock.
        sessions: the venue's, up to the order's own and at least the one before it.
        margin: an order may be on its way for so long.
        auction: for one that goes into the opening auction: the hour in New York from which it is taken the evening
            before, and how long before the open the last ones are. None = it may fill all session long.

    Raises:
        NotAccepted: too early, too late, or no session.
    """
    if len(sessions) < 2 or sessions[-1].day != request.session:
        raise NotAccepted(f"{request.session} is no session of the venue", final=True)
    first, last = sessions[-2].closes + margin, sessions[-1].closes - margin
    if auction is not None:
        evening = dt.datetime.combine(sessions[-2].day, auction[0], NEW_YORK)
        first, last = max(first, evening), sessions[-1].opens - auction[1] - margin
    if now > last:
        raise NotAccepted(f"too late for {request.session}: it would fill on another session", final=True)
    if now < first:
        what = f"too early for {'the session' if auction is None else 'the auction'} of {request.session}"
        when = f"{first.astimezone(NEW_YORK):%A %H:%M} in New York"
        seconds = (first - now).total_seconds()
        raise NotAccepted(f"{what}: orders are taken from {when}", final=False, retry_after=seconds)

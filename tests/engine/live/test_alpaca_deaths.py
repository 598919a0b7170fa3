"""At Alpaca's loopback, a process that dies at one request after the other."""

import pytest

from clusterfolio.engine.live.alpaca_wire import Client
from tests.engine.live.test_alpaca_runner import Desk


class Dies(BaseException):
    """The process ends here."""


@pytest.mark.acceptance
def test_a_process_that_dies_at_any_request_sends_each_order_once(tmp_path, monkeypatch):
    """Just before a request or just after its answer, at one after the other, until a process comes through."""
    exchange, left = Client._exchange, [0, False]

    def dying(self, *args):
        left[0] -= 1
        if left[0] < 0 and not left[1]:
            raise Dies
        found = exchange(self, *args)
        if left[0] < 0:
            raise Dies
        return found

    monkeypatch.setattr(Client, "_exchange", dying)
    deaths = request = 0
    with Desk(tmp_path) as desk:
        while sum(plan.status == "done" for plan in desk.journal.plans()) < 2:
            left[:] = [request // 2, bool(request % 2)]
            request += 1
            desk.venue.close()
            desk.venue = desk.there.venue(timeout=0.3)
            try:
                desk.runner().run(sessions=1)
            except Dies:
                deaths += 1
        done = [plan for plan in desk.journal.plans() if plan.status == "done"]
        assert deaths > 30 and all(plan.residue == {} for plan in done)
        assert desk.held() == desk.journal.holdings() != {} and not desk.there.twins
        desk.one_order_per_intent()

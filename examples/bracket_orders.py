"""A strategy of your own with bracket orders, on backtrader's loop and on the shared clock: the same fills, sooner.

Then it is judged: would random names, held on the same days, have done as well?
"""

from time import process_time

import backtrader as bt

import clusterfolio as cf


class Breakout(bt.Strategy):
    """Buys what closes above its last 50 days, with a stop below and a target above."""

    def __init__(self):
        self.highest = {data: bt.ind.Highest(data.close(-1), period=50) for data in self.datas}
        self.open_orders = dict.fromkeys(self.datas, ())

    def next(self):
        """On every bar; orders fill on the bars after it."""
        for data, highest in self.highest.items():
            if any(order.alive() for order in self.open_orders[data]) or data.close[0] <= highest[0]:
                continue
            close, size = data.close[0], int(0.05 * self.broker.getvalue() / data.close[0])
            self.open_orders[data] = self.buy_bracket(
                data=data, size=size, exectype=bt.Order.Market, stopprice=0.95 * close, limitprice=1.1 * close
            )


market = cf.simulate(cf.SimulatedConfig(n_assets=20, start="2024-06-03", foreign=0.0, turnover=0.0, flaws=False))
panel, _ = cf.build_panel(market, benchmark="SIM.MKT")
runs = {}
for engine in (bt.Cerebro, cf.ClockCerebro):
    cerebro = engine()
    for feed in cf.panel_feeds(panel):
        cerebro.adddata(feed)
    cerebro.addstrategy(Breakout)
    cerebro.addanalyzer(cf.RunRecorder)
    began = process_time()
    runs[engine.__name__] = cerebro.run(stdstats=False)
    print(f"{engine.__name__}: {cerebro.broker.getvalue():,.2f} in {process_time() - began:.1f} s")

stock, clock = (run[0].analyzers.runrecorder.transactions for run in runs.values())
print("the same fills:", stock.equals(clock), len(clock))
judged = cf.judge(
    runs["ClockCerebro"], out="runs/breakout", benchmark="SIM.MKT", simulated=True, report=False, portfolios=200
)  # report=True writes the page too
print(judged.verdict.headline, judged.verdict.reading, sep="\n")

"""RebalanceStrategy in a Cerebro of your own, on the fast clock: your feeds, costs and analyzers, any policy."""

import backtrader as bt
import pandas as pd

import clusterfolio as cf


class Momentum:
    """The strongest names of the last half year, held equally."""

    def decide(self, panel, state):
        """Weights to hold from the next open on; the panel ends with the day decided on."""
        closes = panel.session_closes()[panel.tradable].iloc[-126:]
        best = (closes.iloc[-1] / closes.iloc[0]).dropna().nlargest(5).index
        return cf.Decision(panel.dates[-1], pd.Series(1 / len(best), best))


market = cf.simulate(cf.SimulatedConfig(n_assets=30, start="2024-06-03", foreign=0.0, turnover=0.0, flaws=False))
panel, _ = cf.build_panel(market, benchmark="SIM.MKT")

cerebro = cf.ClockCerebro()  # bt.Cerebro gives the same numbers, later
for feed in cf.panel_feeds(panel):
    cerebro.adddata(feed)
cerebro.broker.setcash(250_000)
cerebro.broker.setcommission(0.0005)
cerebro.addstrategy(
    cf.RebalanceStrategy,
    policy_for=lambda now: Momentum(),
    panel=panel,
    decision_dates=cf.decision_dates("XNYS", pd.Timestamp("2024-12-31"), pd.Timestamp("2025-11-28"), "month"),
    fractional=False,  # whole shares
)
cerebro.addanalyzer(bt.analyzers.DrawDown, _name="fall")
cerebro.addanalyzer(cf.RunRecorder)
(strategy,) = cerebro.run()

print("on the shared clock:", cerebro.clock_used)
print(f"{cerebro.broker.getvalue():,.2f} after {len(strategy.fills)} fills")
print(f"deepest fall: {strategy.analyzers.fall.get_analysis().max.drawdown:.1f} %")
print(strategy.analyzers.runrecorder.transactions[["date", "symbol", "amount", "price"]].tail(5).to_string(index=False))

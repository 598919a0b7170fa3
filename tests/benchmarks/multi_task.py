"""A Transformer trained on several tasks at once, on all assets and all days before each test year.

    python -m tests.benchmarks.encoder_job --path ../shared/data --export inputs.npz
    python tests/benchmarks/multi_task.py inputs.npz OUT
    python tests/benchmarks/multi_task.py inputs.npz OUT --device cuda --width 96 --first 2000 --steps 800

It needs torch and numpy alone. It reads windows of 63 sessions of an asset (and, in one of two variants, of the market
beside it), and is asked for what comes after: log variance of the next 21 and 5 sessions, the log range, the deepest
fall, the market's log variance; and for the days of the window that were hidden from it. Beside it stand the linear
terms of a heterogeneous autoregression (``terms``), so that it has to find what those do not say. Each test year's
training starts from the one before.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

#: Sessions of a window, of a patch of it, after it, and of history that a name needs; of a week, month, quarter, year.
LOOKBACK, PATCH, AHEAD, HISTORY = 63, 3, 21, 252
SPANS = (5, 21, 63, 252)

#: Least variance and range of a day that a logarithm is taken of, and share of the sessions that must be known.
TINY, KNOWN = 1e-7, 0.9

#: Rows are forecast every so many sessions; the most windows at once.
EVERY, MOST = 5, 8192

#: Share of a window's patches that is hidden, and what rebuilding them counts; learning rates, at first and later.
HIDDEN, OF_HIDDEN = 0.15, 0.2
RATE, AGAIN = 1e-3, 5e-4


def mean_of_last(values: np.ndarray, span: int) -> np.ndarray:
    """Mean of the known among the last ``span`` rows, this one included; NaN where fewer than ``KNOWN`` are known."""
    known = np.isfinite(values)
    sums = np.cumsum(np.where(known, values, 0.0), axis=0, dtype=np.float64)
    counts = np.cumsum(known, axis=0)
    sums[span:], counts[span:] = sums[span:] - sums[:-span], counts[span:] - counts[:-span]
    counts[: span - 1] = 0
    return np.where(counts >= KNOWN * span, sums / np.maximum(counts, 1), np.nan).astype(np.float32)


def terms(returns: np.ndarray, ranges: np.ndarray, market: int) -> np.ndarray:
    """What a heterogeneous autoregression looks at, ``(n_days, n_assets, 16)``; nothing later than each row.

    Own: log of the last day's variance (with the week's beside it, as a day may not move), of the mean over a week, a
    month, a quarter and a year; the same of the squared log range of high and low (week, month, quarter); the month's
    variance of falls as a share; the returns of a month and a quarter in their deviations; and the market's week,
    month, quarter of variance, week of range and month's return.

    Args:
        returns, ranges: log returns and log of high over low, ``(n_days, n_assets)``, NaN = not known.
        market: column of the market.
    """
    variance, range_ = returns**2, ranges**2 / (4 * np.log(2))
    of = {span: mean_of_last(variance, span) for span in SPANS}
    wide = {span: mean_of_last(range_, span) for span in SPANS[:3]}
    falls = mean_of_last(np.where(np.isnan(returns), np.nan, np.where(returns < 0, variance, 0.0)), 21)
    deviation = {span: mean_of_last(returns, span) * span / np.sqrt(of[63] * span + TINY) for span in (21, 63)}
    last = np.log(0.8 * of[5] + 0.2 * np.nan_to_num(variance) + TINY)
    own = [last, *(np.log(of[span] + TINY) for span in SPANS), *(np.log(wide[span] + TINY) for span in SPANS[:3])]
    own += [falls / (of[21] + TINY), deviation[21], deviation[63]]
    beside = [np.log(of[span][:, [market]] + TINY) for span in SPANS[:3]] + [np.log(wide[5][:, [market]] + TINY)]
    beside += [deviation[21][:, [market]]]
    shape = returns.shape
    return np.stack([*own, *(np.broadcast_to(one, shape) for one in beside)], axis=2).astype(np.float32)


def targets(returns: np.ndarray, ranges: np.ndarray, market: int) -> np.ndarray:
    """What comes after each row, ``(n_days, n_assets, 5)``, NaN where it is not known (yet).

    Log of the mean squared return of the next 21 and 5 sessions, of the mean squared range of 21, the deepest fall of
    the price below its value now within 21 sessions in deviations of the last 63, the market's first.
    """

    def after(values: np.ndarray, span: int) -> np.ndarray:
        mean = mean_of_last(values, span)
        return np.log(np.vstack([mean[span:], np.full((span, mean.shape[1]), np.nan, np.float32)]) + TINY)

    month = after(returns**2, AHEAD)
    path = np.cumsum(np.nan_to_num(returns), axis=0)
    padded = np.vstack([path, np.full((AHEAD, path.shape[1]), np.nan)])
    lowest = np.nanmin(np.stack([padded[k : k + len(path)] for k in range(AHEAD + 1)]), axis=0) - path
    fall = lowest / np.sqrt(mean_of_last(returns**2, 63) * AHEAD + TINY)
    found = [
        month,
        after(returns**2, 5),
        after(ranges**2, AHEAD),
        fall,
        np.broadcast_to(month[:, [market]], path.shape),
    ]
    found = np.stack(found, axis=2).astype(np.float32)
    found[~np.isfinite(month)] = np.nan
    return found


class Net(nn.Module):
    """Days of a window to a state, and from it to the tasks."""

    def __init__(self, n_channels: int, width: int, layers: int, n_tasks: int):
        super().__init__()
        self.read = nn.Linear(n_channels, width)
        self.place = nn.Parameter(0.02 * torch.randn(LOOKBACK // PATCH, width))
        self.hidden = nn.Parameter(torch.zeros(width))
        layer = nn.TransformerEncoderLayer(
            width, max(1, width // 16), 2 * width, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.tell = nn.Linear(width, n_tasks)
        self.rebuild = nn.Linear(width, n_channels)
        nn.init.zeros_(self.tell.weight)
        nn.init.zeros_(self.tell.bias)

    def forward(self, x: torch.Tensor, hide: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The tasks ``(B, n_tasks)`` and the patches rebuilt ``(B, T, C)``."""
        tokens = self.read(x)
        if hide is not None:
            tokens = torch.where(hide[..., None], self.hidden, tokens)
        days = self.norm(self.body(tokens + self.place))
        return self.tell(0.5 * (days.mean(dim=1) + days[:, -1])), self.rebuild(days)


class Data:
    """All days of all assets on one device, from which windows are taken."""

    def __init__(self, file: Path, device: str):
        with np.load(file) as found:
            stored = {name: found[name] for name in found.files}
        returns, ranges = (stored[name].astype(np.float32) for name in ("returns", "ranges"))
        volume = np.nan_to_num(stored["volume"].astype(np.float32))
        self.years, self.market = stored["dates"] // 10000, int(stored["market"])
        x, y = terms(returns, ranges, self.market), targets(returns, ranges, self.market)
        known = mean_of_last(np.where(np.isfinite(returns), 1.0, np.nan), LOOKBACK)
        self.usable = np.isfinite(x).all(axis=2) & np.isfinite(known) & (x[..., 4] > 2 * np.log(0.03 / np.sqrt(252)))
        self.answered = self.usable & np.isfinite(y).all(axis=2)
        self.wanted = np.isin(np.arange(returns.shape[1]), stored["asked"])
        self.device, self.shape = device, returns.shape
        raw = np.stack([np.nan_to_num(returns), np.nan_to_num(np.maximum(ranges, 0.0)), np.clip(volume, -4, 4)], axis=2)
        self.raw, self.terms, self.targets = (
            torch.from_numpy(np.nan_to_num(one)).to(device, torch.float32) for one in (raw, x, y)
        )

    def windows(self, rows: torch.Tensor, assets: torch.Tensor, market: bool) -> torch.Tensor:
        """Patches ``(B, LOOKBACK / PATCH, PATCH * 4 or 7)`` of channels, in deviations of the quarter: returns, log
        sizes, log ranges; volume.
        """
        days = rows[:, None] + torch.arange(1 - LOOKBACK, 1, device=self.device)
        parts = [self._channels(days, assets[:, None], self.terms[rows, assets, 3])]
        if market:
            beside = torch.full_like(assets, self.market)
            parts.append(self._channels(days, beside[:, None], self.terms[rows, beside, 3])[..., :3])
        return torch.cat(parts, dim=2).reshape(len(rows), LOOKBACK // PATCH, -1)

    def _channels(self, days: torch.Tensor, assets: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        returns, ranges, volume = self.raw[days, assets].unbind(dim=2)
        scale = torch.exp(0.5 * log_variance)[:, None]
        sizes = [torch.log((one.abs() / scale).clamp(0.05, 20)) for one in (returns, ranges)]
        return torch.stack([(returns / scale).clamp(-8, 8), *sizes, volume], dim=2)


def linear(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Coefficients of the tasks on the terms, the intercept last, by least squares."""
    x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1).double()
    return torch.linalg.solve(
        x.T @ x + 1e-6 * len(x) * torch.eye(x.shape[1], device=x.device), x.T @ y.double()
    ).float()


def train(net: Net, data: Data, last: int, steps: int, rate: float, batch: int, market: bool, generator) -> dict:
    """Train on what was answered before row ``last``; the linear part, the scale of what that leaves, the loss."""
    rows, assets = np.nonzero(data.answered[: last - AHEAD])
    rows, assets = (torch.from_numpy(one.copy()).to(data.device) for one in (rows, assets))
    some = torch.randint(len(rows), (min(len(rows), 400_000),), generator=generator, device=data.device)
    x, y = data.terms[rows[some], assets[some]], data.targets[rows[some], assets[some]]
    own = linear(x, y)
    scale = (y - predicted(x, own)).std(dim=0)
    weights = torch.tensor([1.0, 0.5, 0.5, 0.25, 0.25], device=data.device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda at: min((at + 1) / (0.1 * steps), 0.5 + 0.5 * math.cos(math.pi * at / steps))
    )
    net.train()
    losses = []
    for _ in range(steps):
        at = torch.randint(len(rows), (batch,), generator=generator, device=data.device)
        row, asset = rows[at], assets[at]
        windows = data.windows(row, asset, market)
        hide = torch.rand(windows.shape[:2], generator=generator, device=data.device) < HIDDEN
        left = (data.targets[row, asset] - predicted(data.terms[row, asset], own)) / scale
        with torch.autocast(data.device, torch.bfloat16, enabled=data.device == "cuda"):
            told, rebuilt = net(windows, hide)
        loss = (nn.functional.smooth_l1_loss(told.float(), left, reduction="none") * weights).mean()
        loss = loss + OF_HIDDEN * (rebuilt.float() - windows)[hide].square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.detach())
    tail = torch.stack(losses[-50:]).mean().item()
    return {"linear": own, "scale": scale, "loss": tail}


def predicted(x: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
    """What the linear part says."""
    return x @ coefficients[:-1] + coefficients[-1]


@torch.no_grad()
def asked(net: Net, data: Data, rows: np.ndarray, market: bool, part: dict) -> tuple[np.ndarray, np.ndarray]:
    """Log variance of the next 21 sessions by the net and by its linear part, ``(n_rows, n_assets)`` each."""
    net.eval()
    chosen = np.zeros(data.shape, dtype=bool)
    chosen[rows] = data.usable[rows] & data.wanted
    row, asset = (torch.from_numpy(one.copy()).to(data.device) for one in np.nonzero(chosen))
    tables = [np.full(data.shape, np.nan, dtype=np.float32) for _ in range(2)]
    for at in torch.arange(len(row), device=data.device).split(MOST):
        with torch.autocast(data.device, torch.bfloat16, enabled=data.device == "cuda"):
            tasks = net(data.windows(row[at], asset[at], market))[0]
        own = predicted(data.terms[row[at], asset[at]], part["linear"])
        place = row[at].cpu().numpy(), asset[at].cpu().numpy()
        tables[0][place] = (own + tasks.float() * part["scale"])[:, 0].cpu().numpy()
        tables[1][place] = own[:, 0].cpu().numpy()
    return tables[0][rows], tables[1][rows]


def variant(data: Data, years: list[int], market: bool, args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Forecasts of the test years, the net's and its linear part's: ``(2, n_rows, n_assets)``, NaN elsewhere."""
    torch.manual_seed(args.seed)
    generator = torch.Generator(data.device).manual_seed(args.seed)
    net = Net(PATCH * (7 if market else 4), args.width, args.layers, data.targets.shape[2]).to(data.device)
    every = np.arange(HISTORY, data.shape[0], EVERY)
    forecasts = np.full((2, len(every), data.shape[1]), np.nan, dtype=np.float16)
    for number, year in enumerate(years):
        begun, last = time.time(), int(np.searchsorted(data.years, year))
        steps, rate = (args.steps, AGAIN) if number else (args.first, RATE)
        part = train(net, data, last, steps, rate, args.batch, market, generator)
        of_year = data.years[every] == year
        forecasts[:, of_year] = asked(net, data, every[of_year], market, part)
        print(f"market {market}, {year}: loss {part['loss']:.3f}, {time.time() - begun:.1f} s", flush=True)
    return {"forecasts": forecasts, "rows": every}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("inputs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--first", type=int, default=400, help="steps of the first training")
    parser.add_argument("--steps", type=int, default=100, help="steps of every later one")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variants", nargs="+", choices=["market", "own"], default=["market", "own"])
    parser.add_argument("--years", type=int, nargs=2, default=[2014, 2025])
    args = parser.parse_args()
    begun = time.time()
    data = Data(args.inputs, args.device)
    print(f"read {data.shape}, {int(data.answered.sum())} answered, {time.time() - begun:.1f} s", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.variants:
        found = variant(data, list(range(args.years[0], args.years[1] + 1)), name == "market", args)
        np.savez_compressed(args.out / f"{name}.npz", **found)
    (args.out / "settings.json").write_text(json.dumps({**vars(args), "seconds": time.time() - begun}, default=str))


if __name__ == "__main__":
    main()

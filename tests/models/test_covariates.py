import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import RobustScaler
from torch import nn

from clusterfolio.models.batch import BatchSource, Encoding
from clusterfolio.models.covariates import Covariates
from clusterfolio.models.encoder import ENCODERS, Encoder, make_encoder
from clusterfolio.models.reference import untrained
from clusterfolio.models.scaling import fit_scaler, scale
from clusterfolio.models.train_config import TrainConfig
from clusterfolio.models.windows import make_windows

N_DATES, N_ASSETS, LOOKBACK = 60, 5, 8
EXOG, STATICS = ("vix", "rate"), ("asset_class", "sector")
ONCE = TrainConfig(epochs=1, batch_size=16, holdout=0.0)


def exog_table(seed=1):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal([3, 0], [0.3, 2.0], (N_DATES, 2)), columns=list(EXOG))
    table.loc[:9, "rate"] = np.nan  # not known yet
    return table.assign(unused=7.0)


def static_table():
    return pd.DataFrame(
        {"asset_class": ["equity", "bond", "equity", "unknown", "fund"], "sector": ["", "", "IT", "", "IT"]}
    )


def some_windows(exog=None, static=None, first=0, last=None, seed=0, stride=1):
    values = np.random.default_rng(seed).normal(size=(N_DATES, N_ASSETS, 3)).astype(np.float32)
    values[20:24, 1] = np.nan  # an asset that paused: its windows span more days
    exog = exog_table() if exog is None else exog
    static = static_table() if static is None else static
    return make_windows(values, np.isfinite(values), LOOKBACK, stride, first, last, exog, static)


def test_windows_carry_the_row_of_each_bars_own_day():
    windows = some_windows()
    paused = np.flatnonzero((windows.asset_idx == 1) & (windows.date_idx == 25))[0]
    days = windows.bar_date[windows.rows(np.array([paused]))[0]]
    assert days.tolist() == [14, 15, 16, 17, 18, 19, 24, 25]


def test_the_scale_comes_from_the_days_of_the_training_windows_once_each():
    windows = some_windows(first=20, last=40)
    fitted = Covariates(EXOG, STATICS).fit(windows)
    expected = RobustScaler().fit(exog_table()[list(EXOG)].to_numpy()[13:41])  # the first window reaches back to row 13
    np.testing.assert_allclose(fitted.center_, expected.center_)
    np.testing.assert_allclose(fitted.scale_, expected.scale_)


def test_series_after_the_training_windows_change_nothing_that_is_learned():
    later = exog_table()
    later.iloc[41:] = 1e6
    learned = [Covariates(EXOG, STATICS).fit(some_windows(exog, first=20, last=40)) for exog in (exog_table(), later)]
    assert learned[0].to_dict() == learned[1].to_dict()


def test_unknown_values_are_neutral_and_a_series_never_known_in_training_stays_so(caplog):
    exog = exog_table()
    exog.loc[:40, "rate"] = np.nan
    fitted = Covariates(EXOG, ()).fit(some_windows(exog, first=20, last=40))
    assert "rate is not known on any training day" in caplog.text
    scaled = fitted.transform(some_windows(exog)).exog
    assert (scaled["rate"] == 0).all() and scaled["vix"].abs().max() > 0
    assert np.isfinite(scaled.to_numpy()).all() and scaled.to_numpy().dtype == np.float32
    again = Covariates.from_dict(fitted.to_dict(), clip=10.0)
    pd.testing.assert_frame_equal(again.transform(some_windows(exog)).exog, scaled)


def test_scaled_series_stay_within_the_clip():
    fitted = Covariates(EXOG, (), clip=2.0).fit(some_windows(last=30))
    exog = exog_table() * 1000
    assert fitted.transform(some_windows(exog)).exog.abs().max().max() == 2.0


def test_static_codes_are_sorted_and_zero_is_unknown():
    fitted = Covariates((), STATICS).fit(some_windows())
    assert fitted.categories_ == [["bond", "equity", "fund"], ["IT"]]
    assert fitted.sizes() == {"static_sizes": (4, 2)}
    coded = fitted.transform(some_windows()).static
    assert coded["asset_class"].tolist() == [2, 1, 2, 0, 3] and coded["sector"].tolist() == [0, 0, 1, 0, 1]
    new = static_table().assign(asset_class="crypto")
    assert fitted.transform(some_windows(static=new)).static["asset_class"].tolist() == [0] * 5


def test_codes_come_from_the_assets_trained_on():
    windows = some_windows()
    only = windows.take(windows.asset_idx < 2)
    assert Covariates((), ("asset_class",)).fit(only).categories_ == [["bond", "equity"]]


def test_a_batch_holds_each_bars_series_and_each_assets_codes():
    windows = some_windows()
    fitted = Covariates(EXOG, STATICS).fit(windows)
    ready = fitted.transform(scale(windows, fit_scaler(windows), 10.0))
    chosen = np.array([3, 50, 120])
    batch = BatchSource(ready, torch.device("cpu")).batch(chosen)
    assert batch.exog.shape == (3, LOOKBACK, 2) and batch.static.shape == (3, 2)
    assert batch.exog.dtype == torch.float32 and batch.static.dtype == torch.int64
    by_hand = (exog_table()[list(EXOG)].to_numpy() - fitted.center_) / fitted.scale_
    for row, window in enumerate(chosen):
        days = windows.bar_date[windows.start[window] : windows.start[window] + LOOKBACK]
        np.testing.assert_allclose(batch.exog[row], np.nan_to_num(by_hand[days].clip(-10, 10)), rtol=1e-5, atol=1e-6)
        assert batch.static[row].tolist() == ready.static.iloc[windows.asset_idx[window]].tolist()
    direct = fitted.tensors(windows, chosen)
    assert torch.equal(direct["exog"], batch.exog) and torch.equal(direct["static"], batch.static)


def test_without_inputs_a_batch_holds_bars_only():
    windows = some_windows()
    ready = Covariates().fit(windows).transform(windows)
    batch = BatchSource(ready, torch.device("cpu")).batch(np.array([0]))
    assert batch.exog is None and batch.static is None and Covariates().fit(windows).sizes() == {}


def test_series_that_are_missing_are_named():
    bare = make_windows(np.zeros((20, 1, 1), np.float32), np.ones((20, 1, 1), bool), LOOKBACK)
    with pytest.raises(ValueError, match="needs the exogenous series vix, rate; these have none"):
        Covariates(EXOG, ()).fit(bare)
    with pytest.raises(ValueError, match="needs the static columns region; these have asset_class, sector"):
        Covariates((), ("region",)).fit(some_windows())
    with pytest.raises(ValueError, match="exog: expected 20 rows, as values have, got 60"):
        make_windows(np.zeros((20, 1, 1), np.float32), np.ones((20, 1, 1), bool), LOOKBACK, exog=exog_table())


# With an encoder ----------------------------------------------------------------------------------------------------


def fitted_encoder(windows, name="transformer", **changes):
    return Encoder(name, train=ONCE, lookback=LOOKBACK, exog=EXOG, statics=STATICS, **changes).fit(windows)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_encoder_sees_series_and_facts(name, tmp_path):
    windows = some_windows(stride=4)
    encoder = fitted_encoder(windows, name)
    embedded = encoder.transform(windows)
    assert encoder.embed_dim == embedded.shape[1] and np.isfinite(embedded).all()
    other = some_windows(exog_table(seed=2), stride=4)
    assert not np.allclose(encoder.transform(other), embedded)
    told = some_windows(static=static_table().assign(asset_class="fund"), stride=4)
    assert not np.allclose(encoder.transform(told), embedded)
    encoder.save(tmp_path / "saved")
    loaded = Encoder.load(tmp_path / "saved")
    assert loaded.exog == EXOG and loaded.statics == STATICS
    assert loaded.fingerprint() == encoder.fingerprint()
    np.testing.assert_array_equal(loaded.transform(windows), embedded)
    assert untrained(encoder, windows).transform(windows).shape == embedded.shape


def test_the_fingerprint_knows_the_inputs():
    windows = some_windows()
    prices = Encoder(train=ONCE, lookback=LOOKBACK).fit(windows)
    encoder = fitted_encoder(windows)
    before = encoder.fingerprint()
    assert before != prices.fingerprint()
    encoder.covariates_.center_ = encoder.covariates_.center_ + 1
    assert encoder.fingerprint() != before


def test_an_encoder_of_prices_alone_does_not_see_what_lies_beside():
    windows = some_windows(stride=4)
    bare = dataclasses.replace(windows, exog=None, static=None, bar_date=None)
    beside, alone = (Encoder(train=ONCE, lookback=LOOKBACK).fit(each) for each in (windows, bare))
    assert beside.fingerprint() == alone.fingerprint()
    np.testing.assert_array_equal(beside.transform(windows), alone.transform(bare))


def test_a_warm_start_keeps_the_codes_it_learned():
    first = fitted_encoder(some_windows(stride=4))
    renamed = static_table().assign(asset_class=["equity", "crypto", "equity", "crypto", "fund"])
    second = Encoder(train=ONCE, lookback=LOOKBACK, exog=EXOG, statics=STATICS)
    second.fit(some_windows(static=renamed, first=30, stride=4), init=first)
    assert second.covariates_.categories_ == first.covariates_.categories_


class PricesOnly(nn.Module):
    def __init__(self, n_features, lookback, config):
        super().__init__()
        self.layer = nn.Linear(n_features, 2)

    def encode(self, batch):
        return Encoding(self.layer(batch.x).mean(dim=1))

    def loss(self, batch):
        return self.layer(batch.x).square().mean()


def test_a_class_that_reads_prices_only_is_refused_by_name():
    with pytest.raises(ValueError, match="reads prices only: its constructor takes no n_exog and no static_sizes"):
        Encoder(PricesOnly, train=ONCE, lookback=LOOKBACK, exog=EXOG, statics=STATICS).fit(some_windows())
    assert make_encoder(PricesOnly, 3, LOOKBACK) is not None
    assert (
        Encoder(PricesOnly, train=ONCE, lookback=LOOKBACK).fit(some_windows()).transform(some_windows()).shape[1] == 2
    )

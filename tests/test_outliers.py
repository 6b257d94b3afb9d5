import numpy as np
import pytest
from dia_vetting.errors import BadInputError
from dia_vetting.reliability.folds import TooFewExamplesError
from dia_vetting.reliability.outliers import METHODS, OutlierModel, fit_outliers
from scipy.stats import kstest

N_FEATURES = 16


def features(n, seed, injected_fraction=0.3):
    """Two classes of positive features with a covariance, as a hidden layer has."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(0, 1, (N_FEATURES, N_FEATURES))
    injected = rng.random(n) < injected_fraction
    x = rng.normal(0, 1, (n, N_FEATURES)) @ mixing * 0.15
    x[:, :4] += np.where(injected, 3.0, 0.0)[:, None]
    x[:, 4:8] += np.where(injected, 0.0, 3.0)[:, None]
    return x.astype(np.float32), injected


def strangers(n, seed):
    """Rows in a direction where neither class is."""
    x, _ = features(n, seed, 0.0)
    x[:, 4:8] -= 3.0
    x[:, 8:12] += 3.0
    return x


@pytest.mark.parametrize("method", METHODS)
def test_strangers_are_found_and_others_are_uniform(method):
    model = fit_outliers(*features(3_000, 2), method=method)
    known, strange = model.score(features(2_000, 3)[0]), model.score(strangers(200, 4))
    assert known.dtype == np.float32
    assert ((known >= 0) & (known <= 1)).all()
    assert kstest(known, "uniform").statistic < 0.06
    assert np.mean(known > 0.99) < 0.025
    assert (strange > 0.99).mean() > 0.9
    assert strange.min() > np.median(known)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_stranger_than_all_has_an_order(method):
    x, injected = features(1_000, 5)
    model = fit_outliers(x, injected, method=method)
    start, end = x[~injected].mean(axis=0), strangers(500, 6).mean(axis=0)
    path = model.score(start + np.linspace(0.7, 1.0, 6)[:, None].astype(np.float32) * (end - start))
    assert path[0] > 0.99
    assert (np.diff(path) > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_it_repeats_and_survives_its_arrays(method):
    x, injected = features(2_500, 7)
    model = fit_outliers(x, injected, method=method, seed=3)
    again = fit_outliers(x, injected, method=method, seed=3)
    arrays = model.arrays()
    assert all(array.dtype == np.float32 for array in arrays.values())
    assert sum(array.size for array in arrays.values()) <= 2_000 * N_FEATURES + 101
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, again.arrays()[name])
    read = OutlierModel.from_arrays({name: array.copy() for name, array in arrays.items()})
    np.testing.assert_array_equal(read.score(x), model.score(x))


@pytest.mark.parametrize("method", METHODS)
def test_rows_of_a_cell_are_not_judged_by_their_like(method):
    # Every row four times: a copy is next to itself, new rows are not.
    x, injected = (np.repeat(a, 4, axis=0) for a in features(250, 8))
    cells = np.arange(len(x)) // 4
    new = features(2_000, 9)[0]
    by_row, by_cell = (
        np.mean(fit_outliers(x, injected, groups, method=method).score(new) > 0.9) for groups in (None, cells)
    )
    assert by_cell < by_row
    assert by_cell < 0.2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", ["few", "one class", "constant", "dead feature", "one cell"])
def test_degenerate_features_give_scores(method, case):
    x, injected = features(60, 10)
    groups = None
    if case == "few":
        x, injected = x[:6], injected[:6]
    elif case == "one class":
        injected[:] = False
    elif case == "constant":
        x[:] = 1.0
    elif case == "dead feature":
        x[:, 3] = 0.0
    else:
        groups = np.zeros(60, np.int64)
    model = fit_outliers(x, injected, groups, method=method)
    score = model.score(np.concatenate([x, strangers(5, 11), np.zeros((1, N_FEATURES), np.float32)]))
    assert ((score >= 0) & (score <= 1)).all()
    assert model.score(x[:0]).shape == (0,)
    assert np.isnan(model.score(np.full((1, N_FEATURES), np.nan, np.float32))).all()


def test_a_dead_feature_that_fires_is_strange():
    x, injected = features(1_000, 12)
    x[:, 9] = 0.0
    fires = x[:20].copy()
    fires[:, 9] = 1.0
    assert fit_outliers(x, injected).score(fires).min() > 0.99


def test_what_cannot_be_fitted_or_read_is_told():
    x, injected = features(50, 13)
    with pytest.raises(ValueError, match="Unknown method 'forest'"):
        fit_outliers(x, injected, method="forest")
    with pytest.raises(ValueError, match="finite"):
        fit_outliers(np.where(x > 0, np.nan, x), injected)
    with pytest.raises(ValueError, match="as many rows"):
        fit_outliers(x, injected[:9])
    with pytest.raises(TooFewExamplesError, match="4 held-out"):
        fit_outliers(x[:4], injected[:4])
    arrays = fit_outliers(x, injected).arrays()
    del arrays["tail"]
    with pytest.raises(BadInputError, match="outlier statistics"):
        OutlierModel.from_arrays(arrays)

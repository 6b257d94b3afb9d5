"""Sources on a map."""

import numpy as np
import pytest
from dia_vetting.reliability.embedding import EmbeddingSettings, embed_features, standardise

N, GROUPS = 400, 4


def _features(n=N, seed=0):
    """Return features of four groups far apart, two of them constant or of another scale, and the groups."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % GROUPS
    features = rng.normal(size=(n, 8)) + 20 * np.eye(GROUPS, 8)[group]
    features[:, 6] = 3.0
    features[:, 7] *= 1e4
    return features.astype(np.float32), group


def _spread(position, group):
    """Return the largest scatter within a group and the least distance of two groups on the map."""
    centres = np.stack([position[group == k].mean(axis=0) for k in range(GROUPS)])
    within = max(np.linalg.norm(position[group == k] - centres[k], axis=1).mean() for k in range(GROUPS))
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    return within, apart[~np.eye(GROUPS, dtype=bool)].min()


def test_what_is_alike_is_near_and_the_rest_is_not() -> None:
    features, group = _features()
    found = embed_features(features, EmbeddingSettings(kept=5))
    within, apart = _spread(found.position, group)
    assert apart > 3 * within
    assert (group[found.neighbours] == group[:, None]).all()
    assert found.fitted.all()


def test_neighbours_are_the_nearest_in_the_features() -> None:
    features, _ = _features(seed=1)
    found = embed_features(features, EmbeddingSettings(kept=6))
    points = standardise(features)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    np.testing.assert_allclose(np.sort(distance, axis=1)[:, :6], found.distances, rtol=1e-4)
    assert (found.neighbours != np.arange(N)[:, None]).all()


def test_those_that_it_was_not_fitted_to_are_put_beside_their_like() -> None:
    features, group = _features(seed=2)
    found = embed_features(features, EmbeddingSettings(max_fitted=200, kept=4))
    assert found.fitted.sum() == 200
    assert found.fitted[found.neighbours].all()
    within, apart = _spread(found.position, group)
    assert apart > 3 * within
    assert (group[found.neighbours] == group[:, None]).all()


def test_the_same_seed_gives_the_same_map() -> None:
    features, _ = _features(n=120)
    first, again = (embed_features(features, EmbeddingSettings(seed=5)) for _ in range(2))
    np.testing.assert_array_equal(first.position, again.position)
    np.testing.assert_array_equal(first.neighbours, again.neighbours)
    other = embed_features(features, EmbeddingSettings(seed=6))
    assert (first.position != other.position).any()


def test_few_rows_have_few_neighbours() -> None:
    features, _ = _features(n=12)
    found = embed_features(features, EmbeddingSettings(kept=20))
    assert (found.neighbours >= 0).sum(axis=1).tolist() == [11] * 12
    assert np.isnan(found.distances[:, 11:]).all()
    assert np.isfinite(found.position).all()


@pytest.mark.parametrize("bad", [np.zeros((9, 3), np.float32), np.full((20, 3), np.nan, np.float32)])
def test_too_few_or_unknown_features_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least 10 rows"):
        embed_features(bad, EmbeddingSettings())


def test_features_that_do_not_vary_do_not_count() -> None:
    features, _ = _features()
    points = standardise(features)
    assert points.shape == (N, 7)
    np.testing.assert_allclose(points.std(axis=0), 1, rtol=1e-4)

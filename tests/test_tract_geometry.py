import json

import numpy as np
import pytest
from dia_vetting.embedded.tract_geometry import TractGeometry

GEOMETRY = TractGeometry("embedded", 0, 150.0, -30.0, 0.2, (1000, 1700), 600, 50)


def test_round_trip_through_json() -> None:
    assert TractGeometry.from_dict(json.loads(json.dumps(GEOMETRY.to_dict()))) == GEOMETRY


def test_inner_regions_tile_the_tract_and_outer_ones_overlap() -> None:
    count = np.zeros(GEOMETRY.shape, int)
    for box in GEOMETRY.patches():
        x0, x1, y0, y1 = box.inner
        count[y0:y1, x0:x1] += 1
        assert box.shape == (box.outer[3] - box.outer[2], box.outer[1] - box.outer[0])
    assert (count == 1).all()
    assert GEOMETRY.patch_box(1).outer == (550, 1250, 0, 650)


def test_north_is_up_and_east_left() -> None:
    ra, dec = GEOMETRY.pixel_to_sky([849.5, 849.5, 848.5], [499.5, 500.5, 499.5])
    assert ra[0] == pytest.approx(150.0)
    assert dec[0] == pytest.approx(-30.0)
    assert dec[1] - dec[0] == pytest.approx(0.2 / 3600, rel=1e-6)
    assert (ra[2] - ra[0]) * np.cos(np.radians(30.0)) == pytest.approx(0.2 / 3600, rel=1e-6)
    x, y = GEOMETRY.sky_to_pixel(ra, dec)
    np.testing.assert_allclose(x, [849.5, 849.5, 848.5], atol=1e-6)
    np.testing.assert_allclose(y, [499.5, 500.5, 499.5], atol=1e-6)


def test_find_patch_agrees_with_the_boxes() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-50, 1750, 500), rng.uniform(-50, 1050, 500)
    found = GEOMETRY.find_patch(x, y)
    for box in GEOMETRY.patches():
        x0, x1, y0, y1 = box.inner
        inside = (x >= x0 - 0.5) & (x < x1 - 0.5) & (y >= y0 - 0.5) & (y < y1 - 0.5)
        np.testing.assert_array_equal(found == box.patch, inside)
    assert (found[(x < -1) | (y < -1)] == -1).all()


def test_unknown_patch_is_refused() -> None:
    with pytest.raises(IndexError, match="has 6 patches, patch 6 is not one"):
        GEOMETRY.patch_box(6)

"""What a difference image shows of injections into the visit image and its template."""

import numpy as np
import pytest
from dia_vetting.injection.difference_catalog import combine_catalogs
from dia_vetting.injection.flags import InjectionFlag
from dia_vetting.injection.schemas import INJECTED_CATALOG, INJECTED_DIFFERENCE_CATALOG
from dia_vetting.magnitudes import AB_ZERO_POINT


def catalog(ids, flux, flag=0, gain=2.0, **replaced):
    """Return an injected catalog, each row at a place of its own that follows from its id."""
    ids, flux = np.asarray(ids, np.int64), np.asarray(flux, float)
    count = len(ids)
    with np.errstate(divide="ignore"):
        mag = AB_ZERO_POINT - 2.5 * np.log10(flux)
    values = {
        "injection_id": ids, "visit": np.full(count, 42), "band": np.full(count, "r"), "ra": 10 + 0.01 * ids,
        "dec": -0.01 * ids, "mag": mag, "source_type": np.full(count, "Star"), "host_id": 100 + ids,
        "midpointMjdTai": np.full(count, 6e4), "trail_length": np.zeros(count),
        "trail_angle": np.zeros(count),
        "host_mag": np.full(count, 20.0), "injection_flag": np.broadcast_to(flag, count),
        "injection_draw_size": np.full(count, 31), "gain": np.full(count, gain), "x": 2.0 * ids,
        "y": 3.0 * ids, "flux": flux, "injected_flux": flux + 1.0,
    }  # fmt: skip
    return INJECTED_CATALOG.build(values | replaced)


def by_id(table):
    return {int(row["injection_id"]): row for row in table}


def test_light_in_the_visit_less_light_in_the_template():
    science = catalog([5, 2, 9, 7], [100.0, 40.0, 80.0, 30.0])
    template = catalog([9, 3, 2, 8], [50.0, 60.0, 90.0, 20.0], gain=7.0)
    found = INJECTED_DIFFERENCE_CATALOG.check(combine_catalogs(science, template))
    assert found["injection_id"].tolist() == [5, 2, 9, 7, 3, 8]
    assert found["flux"].tolist() == [100.0, -50.0, 30.0, 30.0, -60.0, -20.0]
    # With its noise too: one more in either image.
    assert found["injected_flux"].tolist() == [101.0, -50.0, 30.0, 31.0, -61.0, -21.0]
    np.testing.assert_allclose(10 ** (0.4 * (AB_ZERO_POINT - found["mag"])), np.abs(found["flux"]))
    assert found["gain"].tolist() == [2.0] * 4 + [7.0] * 2


def test_rows_are_joined_by_id_in_any_order():
    """Of large ids, of which one image has more than the other."""
    rng = np.random.default_rng(0)
    ids = rng.permutation(2**62 + np.arange(60))
    science, template = (catalog(part, rng.uniform(10, 100, 40)) for part in (ids[:40], ids[20:]))
    expected = by_id(combine_catalogs(science, template))
    in_science, in_template = by_id(science), by_id(template)
    assert len(expected) == 60
    for key, row in expected.items():
        flux = [table[key]["flux"] if key in table else 0.0 for table in (in_science, in_template)]
        assert row["flux"] == flux[0] - flux[1]
    turned = by_id(combine_catalogs(science[::-1], template[rng.permutation(40)]))
    for key, row in expected.items():
        assert row["flux"] == turned[key]["flux"]


def test_places_are_those_of_the_image_that_has_them():
    science, template = catalog([1, 2], [10.0, 20.0]), catalog([2, 3], [5.0, 5.0])
    rows = by_id(combine_catalogs(science, template))
    for key, row in rows.items():
        assert (row["x"], row["y"], row["host_id"]) == (2.0 * key, 3.0 * key, 100 + key)
        assert (row["ra"], row["dec"]) == pytest.approx((10 + 0.01 * key, -0.01 * key))


def test_what_failed_in_one_image_only_counts_as_what_the_other_got():
    """A varying transient whose light is in the visit alone is as real as one that appeared."""
    F = InjectionFlag
    science = catalog([1, 2, 3, 4], [10.0] * 4, [0, F.NO_OVERLAP, 0, F.MAG_BAD])
    template = catalog([4, 3, 2, 5, 6], [4.0] * 5, [F.NO_OVERLAP, F.PSF_COMPUTE_ERROR, 0, F.NO_OVERLAP, 0])
    rows = by_id(combine_catalogs(science, template))
    flags = {1: 0, 2: 0, 3: 0, 4: F.MAG_BAD | F.NO_OVERLAP, 5: F.NO_OVERLAP, 6: 0}
    assert {key: row["injection_flag"] for key, row in rows.items()} == flags
    flux = {1: 10.0, 2: -4.0, 3: 10.0, 4: 6.0, 5: -4.0, 6: -4.0}
    assert {key: row["flux"] for key, row in rows.items()} == flux


def test_no_change_at_all_is_infinitely_faint():
    (row,) = combine_catalogs(catalog([1], [10.0]), catalog([1], [10.0]))
    assert row["flux"] == 0
    assert row["mag"] == np.inf


@pytest.mark.parametrize(("n_science", "n_template"), [(0, 0), (2, 0), (0, 2)])
def test_an_image_without_injections(n_science, n_template):
    found = combine_catalogs(
        catalog(range(n_science), [10.0] * n_science), catalog(range(n_template), [10.0] * n_template)
    )
    INJECTED_DIFFERENCE_CATALOG.check(found)
    assert found["flux"].tolist() == [10.0] * n_science + [-10.0] * n_template


def test_inputs_are_not_changed():
    science, template = catalog([1, 2], [10.0, 20.0]), catalog([2, 3], [5.0, 6.0])
    before = science.copy(), template.copy()
    combine_catalogs(science, template)
    for table, kept in zip((science, template), before, strict=True):
        for name in table.colnames:
            np.testing.assert_array_equal(table[name], kept[name])

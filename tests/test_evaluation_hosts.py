import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.errors import TableSchemaError
from dia_vetting.injection.host_geometry import Ellipses
from dia_vetting.reliability.evaluation_hosts import add_hosts, host_relation
from dia_vetting.reliability.ids import MissingIdError
from evaluation_samples import injection_ids, make_transients


def test_a_point_of_the_hosts_ellipse_is_at_its_radius():
    truth = make_transients(1)
    shape = [np.asarray(truth[name], float) for name in ("host_a", "host_b", "host_pa")]
    radius, phase = np.linspace(0, 3, len(truth)), np.linspace(0, 20, len(truth))
    east, north = Ellipses(*shape).points(radius, phase)
    truth["delta_ra"], truth["delta_dec"] = east, north
    truth["delta_ra"].unit = truth["delta_dec"].unit = "arcsec"
    relation = host_relation(truth)
    hosted = np.asarray(truth["host_id"]) != 0
    np.testing.assert_allclose(relation.offset_radii[hosted], radius[hosted], atol=1e-12)
    np.testing.assert_allclose(relation.offset[hosted], np.hypot(east, north)[hosted])
    assert np.isnan(relation.offset[~hosted]).all()


def test_half_of_the_light_over_the_ellipse():
    # 20 mag over an ellipse of semi-axes 2 and 0.5 arcsec: half of the flux over pi arcsec^2.
    truth = make_transients(1)[:2]
    truth["host_mag"], truth["host_a"], truth["host_b"] = 20.0, 2.0, 0.5
    flux = 10 ** (-0.4 * 20.0) / 2 / np.pi
    np.testing.assert_allclose(host_relation(truth).surface_brightness, -2.5 * np.log10(flux))


def test_injections_are_looked_up_by_id():
    truth = make_transients(2)[::-1]
    ids = injection_ids(2)
    rows = Table({"injection_id": [0, ids[7], ids[10], 123]})
    add_hosts(rows, truth)
    assert list(rows["injection_kind"]) == ["", "appearing", "appearing", ""]
    np.testing.assert_array_equal(np.isfinite(rows["host_offset"]), [False, True, False, False])
    mine = truth[truth["injection_id"] == ids[7]]
    np.testing.assert_allclose(rows["host_offset"][1], np.hypot(mine["delta_ra"], mine["delta_dec"])[0])
    add_hosts(rows, None)
    assert np.isnan(rows["host_surface_brightness"]).all()
    assert list(rows["injection_kind"]) == [""] * 4


def test_bad_transients_are_refused():
    rows = Table({"injection_id": [1]})
    truth = make_transients(1)
    with pytest.raises(MissingIdError, match=r"transient_truth of here.*twice"):
        add_hosts(rows, truth[[0, 0]], "transient_truth of here")
    truth.remove_column("host_a")
    with pytest.raises(TableSchemaError, match="'host_a'"):
        add_hosts(rows, truth)

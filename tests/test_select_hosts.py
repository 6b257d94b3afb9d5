"""The task that chooses hosts, on tables as the embedded stand-ins and DRP write them."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS
from dia_vetting.embedded.source_schemas import object_schema
from dia_vetting.errors import TableSchemaError
from dia_vetting.injection.host_geometry import TangentFitError
from dia_vetting.injection.schemas import HOST_GALAXY, host_galaxy_schema
from dia_vetting.injection.select_hosts import SelectHostsConfig, SelectHostsTask
from lsst.pex.config import FieldValidationError
from lsst.pipe.base import NoWorkFound

COUNT = 40


def objects(**change) -> Table:
    """Objects as detectObjects writes them: even rows galaxies, odd rows stars."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [30.0, -5.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [500.0, 500.0], [-0.2 / 3600, 0.2 / 3600]
    x, y = np.random.default_rng(0).uniform(0, 1000, (2, COUNT))
    ra, dec = wcs.all_pix2world(x, y, 0)
    galaxy = np.arange(COUNT) % 2 == 0
    values = {
        "objectId": 1000 - np.arange(COUNT), "tract": np.zeros(COUNT), "patch": np.full(COUNT, 2),
        "x": x, "y": y, "coord_ra": ra, "coord_dec": dec, "refBand": np.full(COUNT, "r"),
        "refExtendedness": galaxy.astype(float), "shape_xx": np.full(COUNT, 16.0),
        "shape_yy": np.full(COUNT, 6.25), "shape_xy": np.zeros(COUNT), "shape_flag": np.zeros(COUNT, bool),
        "detect_isPrimary": np.ones(COUNT, bool),
    }  # fmt: skip
    for band, flux in (("r", 3000.0), ("g", 1500.0)):
        for name in ("psf", "kron"):
            values |= {
                f"{band}_{name}Flux": np.full(COUNT, flux),
                f"{band}_{name}FluxErr": np.full(COUNT, 30.0),
            }
        values |= {
            f"{band}_kronFlux_flag": np.zeros(COUNT, bool),
            f"{band}_extendedness": galaxy.astype(float),
        }
        values |= {f"{band}_{name}": np.ones(COUNT) for name in ("ixxPSF", "iyyPSF", "ixyPSF")}
    return object_schema(["r", "g"]).build(values | change)


def task(**settings) -> SelectHostsTask:
    config = SelectHostsConfig()
    config.update(**settings)
    return SelectHostsTask(config=config)


def test_galaxies_become_hosts_in_order_of_their_ids():
    one = task()
    hosts = one.run(objects()).hosts
    HOST_GALAXY.check(hosts)
    assert hosts["host_id"].tolist() == sorted(1000 - np.arange(0, COUNT, 2))
    np.testing.assert_allclose(hosts["host_a"], 0.8, rtol=1e-4)
    np.testing.assert_allclose(hosts["host_b"], 0.5, rtol=1e-4)
    np.testing.assert_allclose(np.asarray(hosts["host_pa"]), 90.0, atol=0.05)  # x is along RA
    np.testing.assert_allclose(hosts["host_mag"], 31.4 - 2.5 * np.log10(3000.0))
    assert set(hosts["patch"]) == {2}
    assert one.metadata["hosts"] == COUNT // 2
    assert one.metadata["rejected"]["extendedness"] == COUNT // 2


def test_stars_are_kept_where_they_are_to_vary():
    hosts = task(withStars=True).run(objects()).hosts
    assert len(hosts) == COUNT
    is_star = np.asarray(hosts["host_id"]) % 2 == 1
    np.testing.assert_array_equal(np.asarray(hosts["host_extendedness"]) < 0.5, is_star)


def test_magnitudes_of_further_bands():
    one = task(bands=["g"])
    hosts = one.run(objects()).hosts
    assert hosts.colnames == host_galaxy_schema(["g"]).names()
    assert one.hostSchema["name"].tolist() == hosts.colnames
    np.testing.assert_allclose(hosts["host_mag_g"], 31.4 - 2.5 * np.log10(1500.0))


def test_columns_of_dp2_by_configuration_without_units():
    table = objects()
    for axis in ("xx", "yy", "xy"):
        table.rename_column(f"shape_{axis}", f"r_i{axis}")
    table.rename_column("shape_flag", "r_i_flag")
    table.rename_columns(["r_kronFlux", "r_kronFluxErr"], ["r_cModelFlux", "r_cModelFluxErr"])
    table.rename_column("r_kronFlux_flag", "r_cModel_flag")
    for column in table.itercols():
        column.unit = None
    settings = {f"{axis}Column": f"{{band}}_i{axis}" for axis in ("xx", "yy", "xy")}
    hosts = task(
        **settings, fluxColumn="{band}_cModelFlux", falseFlags=["{band}_i_flag", "{band}_cModel_flag"]
    ).run(table).hosts  # fmt: skip
    np.testing.assert_allclose(hosts["host_a"], 0.8, rtol=1e-4)


def test_units_are_honoured():
    table = objects()
    table["coord_ra"] = (np.asarray(table["coord_ra"]) * u.deg).to(u.rad)
    table["r_kronFlux"] = (np.asarray(table["r_kronFlux"]) * u.nJy).to(u.mJy)
    hosts = task().run(table).hosts
    np.testing.assert_allclose(hosts["host_mag"], 31.4 - 2.5 * np.log10(3000.0))
    assert hosts["host_ra"].min() > 29


@pytest.mark.parametrize(
    ("column", "unit", "message"),
    [
        ("coord_ra", "nJy", "'coord_ra' as unit deg, found unit nJy"),
        ("shape_xx", "deg", "'shape_xx' as unit pix2, found unit deg"),
        ("r_kronFlux", None, "no such column"),
        ("detect_isPrimary", None, "no such column"),
        ("objectId", None, "no such column"),
    ],
)
def test_missing_column_and_wrong_unit_are_named(column, unit, message):
    table = objects()
    if unit is None:
        table.remove_column(column)
    else:
        table[column].unit = unit
    with pytest.raises(TableSchemaError, match=message) as caught:
        task().run(table, "object {tract: 3}")
    assert caught.value.column == column
    assert caught.value.source == "object {tract: 3}"


def test_no_hosts_is_no_work():
    with pytest.raises(NoWorkFound, match=r"none of 40 objects is a host; .*'extendedness': 40"):
        task().run(objects(refExtendedness=np.full(COUNT, np.nan)))
    with pytest.raises(NoWorkFound, match="no objects"):
        task().run(objects()[:0])


def test_pixels_of_another_tract_are_refused():
    with pytest.raises(TangentFitError, match="residual"):
        task().run(objects(x=np.random.default_rng(9).uniform(0, 1000, COUNT)))


def test_flagged_objects_are_no_hosts():
    primary, bad_shape = np.ones(COUNT, bool), np.zeros(COUNT, bool)
    primary[:10], bad_shape[10:20] = False, True
    one = task()
    hosts = one.run(objects(detect_isPrimary=primary, shape_flag=bad_shape)).hosts
    assert len(hosts) == 10
    assert one.metadata["rejected"]["detect_isPrimary"] == 10
    assert one.metadata["rejected"]["shape_flag"] == 10


def with_profiles(**columns):
    table = objects()
    for name, values in columns.items():
        table[name] = values
    return table


PROFILE = {
    "bulgeFluxColumn": "{band}_bdFluxB",
    "discFluxColumn": "{band}_bdFluxD",
    "bulgeRadiusColumn": "{band}_bdReB",
    "discRadiusColumn": "{band}_bdReD",
}


def test_redshift_and_profile_are_kept_where_they_are_named():
    table = with_profiles(
        z_best=np.where(np.arange(COUNT) == 0, np.nan, 0.1),
        r_bdFluxB=np.where(np.arange(COUNT) == 2, -5.0, 1000.0) * u.nJy,
        r_bdFluxD=np.full(COUNT, 3000.0) * u.nJy,
        r_bdReB=np.full(COUNT, 0.4),
        r_bdReD=np.full(COUNT, 5.0) * u.pix,
    )
    one = task(redshiftColumn="z_best", **PROFILE)
    assert {"z_best", "r_bdReD"} <= set(one.config.columns())
    hosts = one.run(table).hosts
    one.schema.check(hosts)
    row = {int(r["host_id"]): r for r in hosts}
    assert row[998]["host_redshift"] == 0.1
    assert np.isnan(row[1000]["host_redshift"])
    assert row[1000]["host_bulge_fraction"] == 0.25
    assert np.isnan(row[998]["host_bulge_fraction"])  # a negative flux is no measurement
    assert row[1000]["host_bulge_radius"] == 0.4
    assert row[1000]["host_disc_radius"] == pytest.approx(1.0, rel=1e-4)  # 5 pixels of 0.2 arcsec
    with pytest.raises(TableSchemaError, match="r_bdReD"):
        one.run(with_profiles(z_best=np.zeros(COUNT), r_bdFluxB=1.0, r_bdFluxD=1.0, r_bdReB=1.0))


def test_a_profile_needs_all_of_its_columns():
    with pytest.raises(FieldValidationError, match="go together"):
        task(bulgeFluxColumn="a").config.validate()

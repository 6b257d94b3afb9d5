"""The task, on a coadd with stars whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.blends.measure_blending_impact import MeasureBlendingImpactTask
from dia_vetting.blends.schemas import BLENDING_IMPACT, OBJECT_BLEND
from dia_vetting.embedded.schemas import SIM_TRUTH_OBJECT
from dia_vetting.embedded.source_schemas import DIA_SOURCE, object_schema
from dia_vetting.embedded.tract_geometry import TractGeometry
from dia_vetting.errors import TableSchemaError
from dia_vetting.images import make_patch_image, tract_projection
from dia_vetting.planes import Planes
from dia_vetting.reliability.schemas import RELIABILITY_TRUTH
from lsst.images import Box
from lsst.pipe.base import NoWorkFound

GEOMETRY = TractGeometry("map", 7, 150.0, 2.0, 0.2, (1200, 1200), 1200, 0)
COUNT = 225
FLUX = 10 ** (0.4 * (31.4 - 21.0))


def filled(schema, count, **values):
    """Return a table of a schema, with zeros where nothing is given."""
    columns = {
        c.name: np.full(count, "" if c.dtype == "U" else 0).astype(c.dtype if c.dtype != "U" else str)
        for c in schema.columns
    }
    return schema.build(columns | values)


def sky():
    grid = np.stack(np.meshgrid(np.arange(15), np.arange(15))).reshape(2, -1) * 80.0 + 40.0
    return grid, GEOMETRY.pixel_to_sky(*grid)


def coadd():
    planes = Planes(np.zeros((1200, 1200)), np.ones((1200, 1200)), np.zeros((1200, 1200), np.uint32))
    projection = tract_projection(GEOMETRY.wcs, "map", 7, Box.from_shape(GEOMETRY.shape))
    return make_patch_image(planes, sky_projection=projection, x0=0, y0=0)


def inputs():
    (x, y), (ra, dec) = sky()
    flux, error = np.full(COUNT, FLUX), np.full(COUNT, 100.0)
    measured = {"r_psfFlux": flux, "r_psfFluxErr": error, "r_kronFlux": flux, "r_kronFluxErr": error}
    moments = {"r_ixxPSF": np.full(COUNT, 3.0), "r_iyyPSF": np.full(COUNT, 3.0)}
    ids = np.arange(COUNT) + 1
    positions = {"objectId": ids, "x": x, "y": y, "coord_ra": ra, "coord_dec": dec}
    objects = filled(
        object_schema(["r"]),
        COUNT,
        **positions,
        **measured,
        **moments,
        detect_isPrimary=np.arange(COUNT) != 0,
    )
    p_blend = np.where(np.arange(COUNT) % 5 == 0, 0.9, 0.1)
    blends = filled(
        OBJECT_BLEND,
        COUNT - 2,
        objectId=ids[2:][::-1],
        band=np.full(COUNT - 2, "r"),
        p_blend=p_blend[2:][::-1],
    )
    other = filled(OBJECT_BLEND, COUNT, objectId=ids, band=np.full(COUNT, "g"), p_blend=np.full(COUNT, 0.9))
    truth = filled(
        SIM_TRUTH_OBJECT,
        COUNT,
        truth_id=ids,
        kind=np.full(COUNT, "star"),
        ra=ra,
        dec=dec,
        mag=np.full(COUNT, 21.0),
    )
    sources = filled(DIA_SOURCE, COUNT, diaSourceId=ids, ra=ra, dec=dec)
    kinds = np.where(np.arange(COUNT) % 5 == 0, "artefact", np.where(ids % 2, "hidden", "ambiguous"))
    known = filled(RELIABILITY_TRUTH, COUNT, diaSourceId=ids[::-1], truth_class=kinds[::-1])
    return {
        "objects": objects,
        "blends": [other, blends],
        "coadds": [coadd()],
        "truthObjects": truth,
        "diaSources": sources,
        "diaTruth": [known],
    }


def task(**settings):
    config = MeasureBlendingImpactTask.ConfigClass()
    config.nside, config.replicates = 16384, 100
    config.coverageNside = 65536
    for name, value in settings.items():
        setattr(config, name, value)
    return MeasureBlendingImpactTask(config=config)


def value(table: Table, figure: str, treatment: str) -> float:
    (row,) = table[(table["figure"] == figure) & (table["treatment"] == treatment) & (table["by"] == "")]
    return float(row["value"])


@pytest.fixture(scope="module")
def result():
    one = task()
    return one.run(**inputs()), one


def test_figures(result) -> None:
    table, metadata = result[0].impact, result[1].metadata
    BLENDING_IMPACT.check(table)
    assert table.meta["band"] == "r"
    assert (metadata["n_objects"], metadata["n_not_covered"]) == (COUNT - 1, 0)
    assert metadata["n_not_scored"] == 1  # the second; the first is not primary
    assert metadata["psf_sigma"] == pytest.approx(0.2 * 3**0.5, rel=1e-3)
    assert metadata["blank_flux_err"] == 100.0
    assert value(table, "completeness", "all") == pytest.approx(1 - 1 / COUNT)
    flagged = sum(k % 5 == 0 for k in range(2, COUNT))
    assert value(table, "completeness", "ours") == pytest.approx(1 - (1 + flagged) / COUNT)
    assert value(table, "purity", "all") == 1.0
    assert value(table, "flux_bias", "all") == pytest.approx(0.0, abs=1e-6)
    assert value(table, "number_density", "all") == pytest.approx((COUNT - 1) / 16.0, rel=0.05)
    assert value(table, "artefacts_per_dropped", "ours") == 1.0
    assert value(table, "artefacts_per_object", "ours") == 0.0
    assert value(table, "real_left", "ours") == 1.0
    assert metadata["n_dia_sources_unknown"] == sum(k % 5 > 0 and k % 2 == 1 for k in range(COUNT))


def test_plots(result) -> None:
    for name in ("detection", "photometry", "clustering", "residual"):
        figure = getattr(result[0], f"{name}Plot")
        figure.canvas.draw()
        assert len(figure.axes) >= 2
        assert figure.legends


def test_without_difference_images() -> None:
    given = inputs()
    del given["diaSources"], given["diaTruth"]
    found = task(doDifferences=False).run(**given)
    assert not hasattr(found, "residualPlot")
    assert not [name for name in found.impact["figure"] if "per_object" in name]


def test_without_the_truth_of_dia_sources() -> None:
    given = inputs()
    del given["diaTruth"]
    found = task(doDiaTruth=False).run(**given)
    names = {name for name in found.impact["figure"] if "per_object" in name}
    assert names == {"sources_per_object"}


def test_connections_go_with_the_configuration() -> None:
    config = MeasureBlendingImpactTask.ConfigClass()
    connections = config.connections.ConnectionsClass
    assert {"diaSources", "diaTruth", "residualPlot"} <= set(connections(config=config).allConnections)
    config.doDiaTruth = False
    assert "diaTruth" not in connections(config=config).inputs
    assert "diaSources" in connections(config=config).inputs
    config.doDifferences, config.doDiaTruth = False, True
    assert not {"diaSources", "diaTruth", "residualPlot"} & set(connections(config=config).allConnections)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coadds": []}, "template_coadd: no pixel can be used in band r"),
        ({"truthObjects": SIM_TRUTH_OBJECT.empty()}, "sim_truth_object: none of 0 rows"),
    ],
)
def test_nothing_to_do(change, message) -> None:
    with pytest.raises(NoWorkFound, match=message):
        task().run(**inputs() | change)


def test_bad_tables_are_named() -> None:
    given = inputs()
    given["objects"].remove_column("r_kronFlux")
    with pytest.raises(TableSchemaError, match=r"object.*'r_kronFlux'"):
        task().run(**given)
    given = inputs()
    given["blends"][1].remove_column("p_blend")
    with pytest.raises(TableSchemaError, match=r"object_blend.*'p_blend'"):
        task().run(**given)
    given = inputs()
    given["diaTruth"][0].remove_column("truth_class")
    with pytest.raises(TableSchemaError, match=r"reliability_truth.*'truth_class'"):
        task().run(**given)

import numpy as np
import pytest
from astropy.table import Table
from dia_vetting.errors import TableSchemaError
from dia_vetting.injection.schemas import INJECTED_CATALOG
from dia_vetting.reliability.label_dia_sources import LabelDiaSourcesTask
from dia_vetting.reliability.schemas import DIA_SOURCE_LABEL, DIA_SOURCE_REQUIRED, MISSED_INJECTION

FLAGS = ("pixelFlags_saturatedCenter", "pixelFlags_interpolatedCenter")


def dia_sources(n=4, masked=None):
    columns = {name: np.full(n, 1000.0) for name in ("psfFlux", "snr", "x", "y")}
    ids = {"diaSourceId": np.arange(n) + 7, "visit": np.full(n, 42), "detector": np.full(n, 3)}
    sky = {"ra": 10 + np.arange(n) * 0.01, "dec": np.full(n, -20.0), "band": np.full(n, "r")}
    table = DIA_SOURCE_REQUIRED.build({**columns, **ids, **sky, "psfFluxErr": np.full(n, 10.0)})
    for flag in FLAGS:
        table[flag] = np.zeros(n, bool)
    if masked is not None:
        table[FLAGS[0]][masked] = True
    return table


def catalog(ra, **replaced):
    n = len(ra)
    values = {
        c.name: np.full(n, "Star" if c.dtype == "U" else 1.0, c.dtype if c.dtype != "U" else "U8")
        for c in INJECTED_CATALOG.columns
    }
    values |= {"injection_id": np.arange(n) + 1, "ra": ra, "dec": np.full(n, -20.0)}
    values |= {"flux": np.full(n, 1000.0), "mag": np.full(n, 23.9), "injection_flag": np.zeros(n, int)}
    return INJECTED_CATALOG.build(values | replaced)


def run(sources, injections, **config):
    settings = LabelDiaSourcesTask.ConfigClass()
    for name, value in config.items():
        setattr(settings, name, value)
    settings.validate()
    task = LabelDiaSourcesTask(config=settings)
    return task, task.run(sources, injections, visit=42, detector=3, band="r")


def test_outputs_keep_to_their_schemas_and_are_counted():
    sources = dia_sources(4, masked=1)
    task, result = run(sources, catalog(np.array([10.0, 10.01, 11.0])))
    DIA_SOURCE_LABEL.check(result.labels)
    MISSED_INJECTION.check(result.missed)
    assert list(result.labels["state"]) == ["injected", "masked", "unlabelled", "unlabelled"]
    assert list(result.missed["reason"]) == ["masked", "undetected"]
    assert set(result.missed["visit"]) == {42}
    counts = task.metadata
    assert (counts["n_injections"], counts["n_injected"], counts["n_masked"]) == (3, 1, 1)
    assert counts["n_missed_undetected"] == 1


def test_no_sources_means_all_missed():
    _, result = run(dia_sources(0), catalog(np.array([10.0, 11.0])))
    assert len(result.labels) == 0
    assert list(result.missed["reason"]) == ["undetected"] * 2
    DIA_SOURCE_LABEL.check(result.labels)


def test_no_injections_means_all_unlabelled():
    _, result = run(dia_sources(3), catalog(np.zeros(0)))
    assert list(result.labels["state"]) == ["unlabelled"] * 3
    assert len(result.missed) == 0
    MISSED_INJECTION.check(result.missed)


def test_catalog_of_upstream_without_flux_and_pixels():
    upstream = catalog(np.array([10.0, 11.0]))
    upstream.keep_columns(["injection_id", "ra", "dec", "mag", "injection_flag", "visit", "source_type"])
    _, result = run(dia_sources(2), upstream)
    assert list(result.labels["state"]) == ["injected", "unlabelled"]
    np.testing.assert_allclose(result.missed["flux"], 1000.0)
    assert np.isnan(result.missed["x"]).all()


def test_flags_are_configurable():
    sources = dia_sources(2)
    sources["mine"] = [False, True]
    _, result = run(sources, catalog(np.zeros(0)), maskedFlags=["mine"])
    assert list(result.labels["state"]) == ["unlabelled", "masked"]
    with pytest.raises(TableSchemaError, match=r"dia_source_detector.*'theirs'"):
        run(sources, catalog(np.zeros(0)), maskedFlags=["theirs"])


def test_bad_tables_name_dataset_and_cause():
    lacking = catalog(np.array([10.0]))
    lacking.remove_column("injection_flag")
    with pytest.raises(TableSchemaError, match=r"injected_visit_image_catalog.*injection_flag"):
        run(dia_sources(2), lacking)
    wrong = Table(dia_sources(2), copy=True)
    wrong["ra"].unit = "rad"
    with pytest.raises(TableSchemaError, match=r"dia_source_detector.*'ra'.*unit deg"):
        run(wrong, catalog(np.array([10.0])))


def test_bad_radii_are_refused_by_the_configuration():
    with pytest.raises(ValueError, match="below the radius"):
        run(dia_sources(1), catalog(np.zeros(0)), matchRadius=2.0)

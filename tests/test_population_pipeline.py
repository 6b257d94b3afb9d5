"""Physical populations by stock pipetask: from a configuration to light curves, template light included."""

import json

import numpy as np
import pytest
from pipeline_runs import MAIN, PIPELINE, command, copy_repo, main_run, open_butler, run_arguments

TASKS = "injection-catalogs,injection-pixels,differencing,association,labelDiaSources,light-curves-evaluate"
SETTINGS = (
    "selectHosts:bands=['r']",
    "makeTransients:populations=['supernova','agn','moving','static']",
    "makeTransients:doTemplateExposures=True",
    "makeTransients:supernova.hostlessDensity=60000",
    "makeTransients:supernova.peakMagnitudes=[19.0,22.0]",
    "makeTransients:agn.hostFraction=0.5",
    "makeTransients:agn.minSeparation=1.0",
    "makeTransients:moving.density=60000",
    "makeTransients:moving.medianRate=0.05",
    "makeTransients:static.hostlessDensity=60000",
    "makeTransients:static.brightness=flat_snr",
    "makeTransients:static.range=[5.0,50.0]",
    "makeTransients:avoidMaskPlanes=['BAD','SAT','NO_DATA']",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    repo = copy_repo(main_run(base)[0], tmp_path_factory.mktemp("populations") / "repo")
    log = command(
        "pipetask",
        *run_arguments(
            repo,
            "u/test/populations",
            # Templates come from an earlier run: as a constraint they would hide the template exposures.
            *("--dataset-query-constraint", "off"),
            subset=TASKS,
            inputs=f"{MAIN},SimLSST/defaults",
            settings=SETTINGS,
            pipeline=PIPELINE.with_name("supernovae.yaml"),
        ),
    )
    return open_butler(repo, "u/test/populations"), log


def tables(butler):
    data_id = dict(butler.query_datasets("transient_truth")[0].dataId.mapping)
    names = ("transient_truth", "transient_epoch", "transient_template_epoch")
    return [butler.get(name, data_id) for name in names]


def test_all_populations_are_drawn_and_coherent(run):
    truth, epochs, below = tables(run[0])
    assert set(truth["model"]) == {"supernova", "agn", "moving", "static"}
    assert len(np.unique(truth["injection_id"])) == len(truth)
    assert set(epochs["injection_id"]) | set(below["injection_id"]) <= set(truth["injection_id"])
    place = {row["injection_id"]: (row["ra"], row["dec"]) for row in truth if row["model"] != "moving"}
    for row in epochs:
        assert row["injection_id"] not in place or place[row["injection_id"]] == (row["ra"], row["dec"])
    nuclei = truth["injection_id"][truth["model"] == "agn"]
    assert set(below["injection_id"]) >= set(nuclei)
    assert all(json.loads(text) for text in truth["parameters"])


def test_pixels_have_trails_and_differences_of_both_signs(run):
    butler, _ = run
    epochs = tables(butler)[1]
    refs = butler.query_datasets("injected_visit_image_catalog")
    assert len(refs) == 3
    catalogs = [butler.get(ref) for ref in refs]
    seen = np.concatenate([catalog["injection_id"][catalog["injection_flag"] == 0] for catalog in catalogs])
    assert len(seen) > 0.8 * len(epochs)
    trailed = np.concatenate(
        [catalog["injection_draw_size"][catalog["trail_length"] > 1.0] for catalog in catalogs]
    )
    still = np.concatenate(
        [catalog["injection_draw_size"][catalog["trail_length"] == 0] for catalog in catalogs]
    )
    assert len(trailed) > 0
    assert trailed.min() > still.min()
    differences = [butler.get(ref) for ref in butler.query_datasets("injected_difference_catalog")]
    flux = np.concatenate([np.asarray(table["flux"]) for table in differences])
    assert np.isfinite(flux).all()
    assert (flux > 0).any()
    assert (flux < 0).any()


def test_depths_make_the_snr_that_was_asked_for(run):
    """Flat in SNR between 5 and 50 by the visit image's own noise: of 30 s and r = 24 to 22 or so."""
    truth, epochs, _ = tables(run[0])
    mine = np.isin(epochs["injection_id"], truth["injection_id"][truth["model"] == "static"])
    mag = np.asarray(epochs["mag"])[mine]
    assert len(mag) > 3
    assert 20.5 < mag.min()
    assert mag.max() < 25.5
    assert np.ptp(mag) < 2.5 + 1.0  # 2.5 mag for a factor of ten, and what the visits differ in depth


def test_light_curves_are_followed_to_forced_photometry(run):
    butler, _ = run
    truth = tables(butler)[0]
    objects, points, fits = (
        butler.get(f"injection_{name}") for name in ("object", "light_curve", "light_curve_fit")
    )
    # Those that stand still and have light in several of the three visits; static ones have one.
    assert set(objects["model"]) == {"supernova", "agn"}
    assert set(objects["injection_id"]) <= set(truth["injection_id"])
    assert (objects["n_visits"] > 1).all()
    found = objects[objects["diaObjectId"] > 0]
    assert len(found) > 0.3 * len(objects)
    assert set(points["injection_id"]) == set(fits["injection_id"]) == set(found["injection_id"])
    whole = fits[fits["band"] == "all"]
    assert len(whole) == len(found)
    # Three visits: hardly a shape. What is bright is as bright as it was injected.
    bright = points[points["used"] & (np.abs(points["flux"]) > 30 * points["psfDiffFluxErr"])]
    assert len(bright) > 5
    assert np.median(bright["psfDiffFlux"] / bright["flux"]) == pytest.approx(1.0, abs=0.03)
    assert np.isfinite(whole["amplitude"]).any()
    metrics = butler.get("injection_light_curve_metrics")
    assert metrics["supernova"]["n"] + metrics["agn"]["n"] == len(objects)
    for plot in ("light_curve", "light_curve_fit"):
        assert butler.getURI(f"injection_{plot}_plot").exists()

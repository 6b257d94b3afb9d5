"""The main job by stock pipetask on real DECam exposures, with a model from elsewhere."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from dia_vetting.embedded.ingest_decam import ingest_decam
from dia_vetting.images import planes_from_image
from dia_vetting.masks import MaskBit
from dia_vetting.model_transfer import import_model
from lsst.daf.butler import Butler
from pipeline_runs import command, executed
from reliability_samples import trained

PIPELINE = Path(__file__).parents[1] / "pipelines" / "Embedded" / "decam.yaml"
RUN = "u/test/decam"
SCIENCE = {431608, 630780, 640615, 650104, 725257, 730182}
TEMPLATE_RAY = (186.73628, 25.45527)
"""Position of a cosmic ray in the z template that its mask does not have, RA and Dec in degrees."""


@pytest.fixture(scope="module")
def butler(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Butler:
    base = tmp_path_factory.mktemp("decam")
    repo = base / "repo"
    assert ingest_decam(shared_data / "decam", repo).made == 9
    pq.write_table(trained()[2].model, base / "model.parquet")
    card = import_model(base / "model.parquet", str(repo), "DECam/model", "DECam")
    assert card.instrument != "DECam"
    arguments = ["run", "-b", repo, "-i", "DECam/defaults,DECam/model", "-o", RUN, "-p", PIPELINE]
    arguments += ["-d", "instrument = 'DECam'", "-c", "makeTransients:seed=1", "--register-dataset-types"]
    succeeded, failed, total = executed(command("pipetask", "--long-log", *arguments))
    assert (failed, succeeded) == (0, total)
    return Butler.from_config(str(repo), collections=[RUN, "DECam/defaults"], instrument="DECam")


def tables(butler: Butler, name: str) -> dict[int, Table]:
    found = butler.query_datasets(name, explain=False)
    return {int(ref.dataId["visit"]): butler.get(ref) for ref in found}


def test_every_science_exposure_is_scored(butler: Butler) -> None:
    sources, scores = tables(butler, "dia_source_detector"), tables(butler, "dia_source_vetting")
    assert set(sources) == set(scores) == SCIENCE
    for visit in SCIENCE:
        assert list(scores[visit]["diaSourceId"]) == list(sources[visit]["diaSourceId"])
        assert np.isfinite(scores[visit]["reliability"]).all()


def test_bright_injections_are_recovered_with_their_flux(butler: Butler) -> None:
    outcomes = butler.get("injection_outcome")
    assert len(outcomes) >= 15
    bright = outcomes[outcomes["clean"] & (outcomes["expected_snr"] > 15) & (outcomes["host_id"] == 0)]
    assert len(bright) >= 3
    assert bright["recovered"].all()
    pull = (bright["psfFlux"] - bright["flux"]) / bright["psfFluxErr"]
    assert np.abs(pull).max() < 4.5
    assert (np.hypot(bright["offset_east"], bright["offset_north"]) < 0.15).all()


def test_hosts_are_galaxies_of_the_field(butler: Butler) -> None:
    hosts = butler.get("host_galaxy", skymap="embedded_decam_v1", tract=0)
    assert 3 <= len(hosts) <= 8
    brightest = hosts[np.argmin(hosts["host_mag"])]
    assert brightest["host_mag"] == pytest.approx(18.0, abs=0.15)
    assert brightest["host_a"] > 1.2 * brightest["host_b"]


def test_kernel_sums_are_right_in_spite_of_transients_and_cosmic_rays(butler: Butler) -> None:
    sums = {
        visit: metadata["subtractImages"]["kernel_sum"]
        for visit, metadata in tables(butler, "subtractImages_metadata").items()
    }
    # In 650104, one of the two or three stars to match on is a variable star.
    assert all(
        value == pytest.approx(1.0, abs=0.1 if visit == 650104 else 0.03) for visit, value in sums.items()
    )


def test_cosmic_rays_in_masks_are_no_sources_and_others_are_negative(butler: Butler) -> None:
    for visit, sources in tables(butler, "dia_source_detector").items():
        assert not sources["pixelFlags_crCenter"].any()
        east = (sources["ra"] - TEMPLATE_RAY[0]) * np.cos(np.radians(TEMPLATE_RAY[1]))
        near = np.hypot(east, sources["dec"] - TEMPLATE_RAY[1])
        ray = sources[near * 3600 < 1.0]
        assert len(ray) == (visit in {431608, 630780, 640615})
        assert ray["isNegative"].all()
    masked = {
        int(ref.dataId["visit"]): bool(planes_from_image(butler.get(ref)).has(MaskBit.CR).any())
        for ref in butler.query_datasets("visit_image")
    }
    assert {visit for visit, has in masked.items() if has} == {630780, 640615, 650104}

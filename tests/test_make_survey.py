"""The simulated survey as a repository: what is in it, that it repeats, that it goes on where it stopped."""

from pathlib import Path

import numpy as np
import pytest
from dia_vetting import images as im
from dia_vetting.embedded.make_survey import SurveySummary, make_survey
from dia_vetting.embedded.schemas import SIM_TRUTH_ARTEFACT, SIM_TRUTH_OBJECT, SIM_TRUTH_PSF, SIM_TRUTH_SOURCE
from dia_vetting.embedded.survey import (
    SurveyConfig,
    list_visits,
    load_config,
    simulate_scene,
    simulate_visit,
)
from dia_vetting.embedded.tract_geometry import TractGeometry
from dia_vetting.errors import BadInputError
from lsst.daf.butler import Butler
from lsst.images import VisitImage

SEED = 5
IMAGE_TYPES = ("visit_image", "template_visit_image")


@pytest.fixture(scope="module")
def config() -> SurveyConfig:
    return load_config("lsst", size="tiny")


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory, config: SurveyConfig) -> tuple[Path, SurveySummary]:
    root = tmp_path_factory.mktemp("survey") / "repo"
    return root, make_survey(root, config, SEED)


@pytest.fixture
def butler(survey: tuple[Path, SurveySummary]) -> Butler:
    return Butler.from_config(str(survey[0]), collections="SimLSST/defaults")


def test_images_are_what_the_engine_made(butler: Butler, config: SurveyConfig) -> None:
    visit = list_visits(config, SEED)[-1]
    expected = simulate_visit(config, SEED, simulate_scene(config, SEED), visit, 0)
    image = butler.get("visit_image", instrument="SimLSST", visit=visit.visit, detector=0)
    assert isinstance(image, VisitImage)
    planes = im.planes_from_image(image)
    np.testing.assert_array_equal(planes.image, expected.planes.image)
    np.testing.assert_array_equal(planes.variance, expected.planes.variance)
    np.testing.assert_array_equal(planes.mask, expected.planes.mask)
    assert im.mid_time(image) == pytest.approx(visit.mjd, abs=1e-9)
    assert im.nanojansky_per_electron(image, 10, 10)[0] == pytest.approx(1 / expected.gain)
    assert image.obs_info.visit_id == visit.visit
    assert image.obs_info.has_simulated_content
    x, y = np.array([0.0, 399.0, 200.0]), np.array([0.0, 10.0, 399.0])
    np.testing.assert_allclose(
        im.pixel_to_sky(image, x, y), expected.wcs.all_pix2world(x, y, 0), atol=1e-3 / 3.6e6
    )


def test_psf_is_fitted_not_the_true_one(butler: Butler) -> None:
    for dataset_type in IMAGE_TYPES:
        for ref in butler.query_datasets(dataset_type):
            image = butler.get(ref)
            assert image.metadata["PSF_MODEL"] in ("pixels", "moffat", "default")
            truth = butler.get("sim_truth_psf", ref.dataId)
            fitted = im.local_psf(image)
            size = min(fitted.size, truth["stamp"].shape[1])
            middle = truth["stamp"].shape[1] // 2
            cut = slice(middle - size // 2, middle + size // 2 + 1)
            true = truth["stamp"][0][cut, cut] / truth["stamp"][0][cut, cut].sum()
            ours = fitted.kernel_images(truth["x"][0], truth["y"][0], size)[0]
            assert not np.allclose(ours, true, atol=1e-4)
            assert np.abs(ours - true).max() < 0.4 * true.max()


def test_templates_and_science_visits_are_different_dataset_types(butler: Butler) -> None:
    science, template = ({ref.dataId["visit"] for ref in butler.query_datasets(t)} for t in IMAGE_TYPES)
    assert len(science) == len(template) == 3
    assert not science & template


def test_truth_tables_keep_to_their_schemas_and_collection(butler: Butler) -> None:
    for schema in (SIM_TRUTH_OBJECT, SIM_TRUTH_SOURCE, SIM_TRUTH_ARTEFACT, SIM_TRUTH_PSF):
        refs = butler.query_datasets(schema.name)
        assert len(refs) == (1 if schema is SIM_TRUTH_OBJECT else 6)
        for ref in refs:
            assert ref.run == "SimLSST/truth"
            schema.check(butler.get(ref))


def test_tract_holds_all_detectors(butler: Butler) -> None:
    (ref,) = butler.query_datasets("tract_geometry")
    geometry = TractGeometry.from_dict(butler.get(ref))
    for dataset_type in IMAGE_TYPES:
        for image_ref in butler.query_datasets(dataset_type):
            image = butler.get(image_ref)
            ra, dec = im.pixel_to_sky(image, [-0.5, 399.5, 399.5, -0.5], [-0.5, -0.5, 399.5, 399.5])
            assert (geometry.find_patch(*geometry.sky_to_pixel(ra, dec)) >= 0).all()


def test_summary_counts_the_truth(survey: tuple[Path, SurveySummary], butler: Butler) -> None:
    summary = survey[1]
    assert summary.images == {"visit_image": 3, "template_visit_image": 3}
    assert summary.made == 6
    tables = [butler.get(ref) for ref in butler.query_datasets("sim_truth_artefact")]
    for cause in ("worm", "hot_pixel"):
        total = sum(int((table["cause"] == cause).sum()) for table in tables)
        masked = sum(int(table["masked"][table["cause"] == cause].sum()) for table in tables)
        assert summary.causes[cause] == [total, masked]
    table = summary.table()
    assert set(table.colnames) == {"what", "appearances", "masked"}
    assert {"hidden", "variable", "worm"} <= set(table["what"])


def test_only_what_is_absent_is_made_again_and_it_is_the_same(
    survey: tuple[Path, SurveySummary], config: SurveyConfig
) -> None:
    root = survey[0]
    data_id = {"instrument": "SimLSST", "visit": 1002, "detector": 0}
    with Butler.from_config(str(root), writeable=True, collections="SimLSST/defaults") as butler:
        ref = butler.find_dataset("visit_image", data_id)
        before = butler.get(ref)
        butler.pruneDatasets([ref], unstore=True, purge=True, disassociate=True)
    assert make_survey(root, config, SEED).made == 1
    with Butler.from_config(str(root), collections="SimLSST/defaults") as butler:
        after = butler.get("visit_image", data_id)
    np.testing.assert_array_equal(after.image.array, before.image.array)
    np.testing.assert_array_equal(im.local_psf(after).coefficients, im.local_psf(before).coefficients)
    assert make_survey(root, config, SEED).made == 0


def test_processes_do_not_change_the_pixels(
    survey: tuple[Path, SurveySummary], config: SurveyConfig, tmp_path: Path, butler: Butler
) -> None:
    make_survey(tmp_path / "repo", config, SEED, jobs=2)
    other = Butler.from_config(str(tmp_path / "repo"), collections="SimLSST/defaults")
    for dataset_type in IMAGE_TYPES:
        for ref in butler.query_datasets(dataset_type):
            one, two = butler.get(ref), other.get(dataset_type, ref.dataId)
            np.testing.assert_array_equal(one.image.array, two.image.array)
            np.testing.assert_array_equal(im.local_psf(one).coefficients, im.local_psf(two).coefficients)


@pytest.mark.parametrize("change", ["seed", "config"])
def test_another_survey_in_the_same_repository_is_refused(
    survey: tuple[Path, SurveySummary], config: SurveyConfig, change: str
) -> None:
    other = load_config("lsst", size="tiny", overrides={"camera": {"read_noise": 8.0}})
    with pytest.raises(BadInputError, match=r"survey of SimLSST .* \(seed 5\)"):
        make_survey(survey[0], config if change == "seed" else other, 6 if change == "seed" else SEED)


def test_another_camera_in_the_same_repository_is_welcome(survey: tuple[Path, SurveySummary]) -> None:
    one = {"size": {"science_visits": 1, "template_visits": 1}}
    summary = make_survey(survey[0], load_config("ztf", size="tiny", overrides=one), SEED)
    assert summary.made == 2
    butler = Butler.from_config(str(survey[0]), collections="SimZTF/defaults")
    assert len(butler.query_datasets("visit_image")) == 1

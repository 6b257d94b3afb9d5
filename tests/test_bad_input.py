"""Bad input to stock pipetask: each case ends as doc/failures.md says, and the other images go on.

Non-DECam files given to ``ingest-decam`` are in test_ingest_decam.py, tables of every task's own in the tests
of the task.
"""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.wcs import WCS
from dia_vetting.embedded.make_survey import make_survey
from dia_vetting.embedded.survey import load_config
from dia_vetting.image_making import detector_projection
from dia_vetting.reliability.extract_cutouts import ExtractCutoutsConfig, ExtractCutoutsTask, ImageBoxError
from lsst.daf.butler import Butler, DatasetRef, FileDataset
from lsst.images import Image, MaskedImage, VisitImage
from lsst.images.psfs import PSFExWrapper
from pipeline_runs import (
    INPUT,
    MAIN,
    SETTINGS,
    command,
    executed,
    main_run,
    open_butler,
    run_arguments,
)

GOOD = (1001, 1002)
NAN, NO_WCS, NO_PSF, TRUNCATED, CORRUPT, ELSEWHERE = range(1003, 1009)
UNREADABLE = (NO_WCS, TRUNCATED, CORRUPT)
NAN_TEMPLATE = 103
ONE_NETWORK = (
    *(s for s in SETTINGS if not s.startswith("trainSeedCnn")),
    "trainReliability:minExamples=1",
    "makeTransients:hostlessFraction=0.75",  # two good visits have to give enough to calibrate with
)
SPOILED, OUTPUT = "u/test/spoiled", "u/test/bad"
STEPS = (
    "template,injection-catalogs,injection-pixels,differencing,vetting-prepare,vetting-train,vetting-score"
)


class _PsfOfAStack(PSFExWrapper):
    """A PSFEx model, which can be written anywhere and read only where Rubin's stack is."""

    def __init__(self, bounds: Any) -> None:
        self._bounds = bounds
        data = SimpleNamespace(
            average_x=0.0, average_y=0.0, pixel_step=1.0, group=[0, 0], degree=[0], basis=[1.0], coeff=[1.0],
            size=[3, 3], comp=np.ones(9, np.float32), context=np.zeros((1, 2)),
        )  # fmt: skip
        self._impl = SimpleNamespace(getSerializationData=lambda: data)


def _blank(image: VisitImage) -> VisitImage:
    image.image.array[...] = np.nan
    return image


def _with_psf_of_a_stack(image: VisitImage) -> VisitImage:
    image.psf = _PsfOfAStack(image.bbox)
    return image


def _pointed_elsewhere(image: VisitImage) -> VisitImage:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [151.0, 3.0], [200.0, 200.0]
    wcs.wcs.cdelt = [-0.2 / 3600, 0.2 / 3600]
    return VisitImage(
        Image(image.image.array, bbox=image.bbox, unit=image.unit),
        mask=image.mask,
        variance=Image(image.variance.array, bbox=image.bbox, unit=image.variance.unit),
        sky_projection=detector_projection(wcs, "SimLSST", ELSEWHERE, 0, image.bbox),
        **{
            name: getattr(image, name)
            for name in ("psf", "obs_info", "detector", "band", "photometric_scaling")
        },
    )


def _put(
    butler: Butler, visit: int, change: Callable[[VisitImage], VisitImage], name: str = "visit_image"
) -> None:
    image = butler.get(name, visit=visit, detector=0, collections=INPUT)
    butler.put(change(image.copy()), name, visit=visit, detector=0, run=SPOILED)


def _put_without_wcs(butler: Butler, visit: int, scratch: Path) -> None:
    """Ingest a file that holds an image, but not one with all that a visit image has."""
    image = butler.get("visit_image", visit=visit, detector=0, collections=INPUT)
    planes = [Image(plane.array, bbox=image.bbox, unit=plane.unit) for plane in (image.image, image.variance)]
    bare = MaskedImage(planes[0], mask=image.mask.view(sky_projection=None), variance=planes[1])
    bare.write(str(scratch / "bare.fits"))
    known = butler.find_dataset("visit_image", visit=visit, detector=0, collections=INPUT)
    assert known is not None
    ref = DatasetRef(known.datasetType, known.dataId, run=SPOILED)
    butler.ingest(FileDataset(str(scratch / "bare.fits"), [ref]), transfer="copy")


def _damage(butler: Butler, visit: int, change: Callable[[bytes], bytes]) -> None:
    _put(butler, visit, lambda image: image)
    path = Path(butler.getURI("visit_image", visit=visit, detector=0, collections=SPOILED).ospath)
    path.write_bytes(change(path.read_bytes()))


def _overwrite_the_middle(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(2000) + data[middle + 2000 :]


@pytest.fixture(scope="session")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a survey of eight visits, and a collection in which all but two are spoiled."""
    base = tmp_path_factory.mktemp("bad")
    tiny = load_config("lsst", size="tiny")
    size = tiny.size.model_copy(update={"science_visits": 8})
    make_survey(base / "repo", tiny.model_copy(update={"size": size}), 1)
    butler = open_butler(base / "repo", INPUT)
    butler.collections.register(SPOILED)
    _put(butler, NAN, _blank)
    _put(butler, NAN_TEMPLATE, _blank, "template_visit_image")
    _put(butler, NO_PSF, _with_psf_of_a_stack)
    _put(butler, ELSEWHERE, _pointed_elsewhere)
    _put_without_wcs(butler, NO_WCS, base)
    _damage(butler, TRUNCATED, lambda data: data[: len(data) // 2])
    _damage(butler, CORRUPT, _overwrite_the_middle)
    return base / "repo"


@pytest.fixture(scope="session")
def report(spoiled: Path) -> dict[str, Any]:
    """Run on the spoiled survey, and return what ``pipetask report`` says of each task."""
    graph, summary = spoiled.parent / "bad.qg", spoiled.parent / "report.json"
    options = ("-j", "1", "--no-raise-on-partial-outputs", "--save-qgraph", str(graph))
    inputs = f"{SPOILED},{INPUT}"
    arguments = run_arguments(spoiled, OUTPUT, *options, subset=STEPS, inputs=inputs, settings=ONE_NETWORK)
    log = command("pipetask", *arguments, check=False)
    assert executed(log)[1] > 0, log[-5000:]
    command("pipetask", "report", spoiled, graph, "--force-v2", "--full-output-filename", summary)
    tasks: dict[str, Any] = json.loads(summary.read_text())["tasks"]
    return tasks


def _failures(task: dict[str, Any]) -> dict[int, str]:
    """What made quanta fail, by visit."""
    return {quantum["data_id"]["visit"]: " ".join(quantum["messages"]) for quantum in task["failed_quanta"]}


def _qualified(task: dict[str, Any]) -> dict[int, tuple[str, str]]:
    """Class and message of what made quanta qualified successes, by visit."""
    return {
        one["data_id"]["visit"]: (name.rpartition(".")[2], one["exception"]["message"])
        for name, found in task["exceptions"].items()
        for one in found
    }


def _caveats(task: dict[str, Any], code: str) -> set[int]:
    """Visits of the quanta with a caveat: N no work found, P partial outputs, A no inputs to run on."""
    return {data_id["visit"] for data_id in task["caveats"].get(code, [])}


def _there(butler: Butler, name: str) -> set[int]:
    return {int(ref.dataId["visit"]) for ref in butler.query_datasets(name, explain=False, find_first=True)}


def test_image_without_a_finite_pixel(report: dict[str, Any]) -> None:
    assert _caveats(report["injectTransients"], "*P") == {NAN, NO_PSF}
    assert _qualified(report["injectTransients"])[NAN] == (
        "NoUsablePixelsError",
        f"visit_image (visit {NAN}, detector 0): no pixel is finite.",
    )


def test_image_without_psf(report: dict[str, Any]) -> None:
    name, message = _qualified(report["injectTransients"])[NO_PSF]
    assert name == "MissingImageComponentError"
    assert f"visit_image (visit {NO_PSF}, detector 0): cannot read the PSF" in message


@pytest.mark.parametrize("task", ["injectTransients", "warpTemplate"])
@pytest.mark.parametrize(
    ("visit", "error", "cause"),
    [
        (NO_WCS, "UnreadableDatasetError", "is not a VisitImage"),
        (TRUNCATED, "FileIntegrityError", "does not match size"),
        (CORRUPT, "UnreadableDatasetError", "Failure from formatter"),
    ],
)
def test_unreadable_image(report: dict[str, Any], task: str, visit: int, error: str, cause: str) -> None:
    failures = _failures(report[task])
    assert set(failures) == set(UNREADABLE)
    assert f"Exception {error}: " in failures[visit]
    assert cause in failures[visit]
    assert f"visit_image_SimLSST_r_r_{visit}_D00" in failures[visit]


def test_template_that_does_not_overlap(report: dict[str, Any], spoiled: Path) -> None:
    assert _caveats(report["warpTemplate"], "*N") == {ELSEWHERE}
    log = open_butler(spoiled, OUTPUT).get("warpTemplate_log", visit=ELSEWHERE, detector=0)
    assert any("template_coadd: the template does not overlap" in record.message for record in log)


def test_template_exposure_without_a_finite_pixel_is_left_out(report: dict[str, Any], spoiled: Path) -> None:
    assert report["buildTemplate"]["n_successful"] == 1
    butler = open_butler(spoiled, OUTPUT)
    where = {"skymap": "embedded_simlsst_v1", "tract": 0, "patch": 0, "band": "r"}
    metadata = butler.get("buildTemplate_metadata", where)["buildTemplate"]
    assert (metadata["n_exposures"], metadata["n_unusable"]) == (2, 1)
    warnings = [
        record.message for record in butler.get("buildTemplate_log", where) if record.levelname == "WARNING"
    ]
    assert any(f"visit {NAN_TEMPLATE}, detector 0): no pixel is finite" in message for message in warnings)


def test_other_images_go_on(report: dict[str, Any], spoiled: Path) -> None:
    butler = open_butler(spoiled, OUTPUT)
    for task in (
        "combineInjections",
        "subtractImages",
        "detectDiaSources",
        "extractCutouts",
        "labelDiaSources",
    ):
        assert not report[task]["failed_quanta"]
        assert report[task]["n_blocked"] == len(UNREADABLE)
        assert _caveats(report[task], "*A") == {NAN, NO_PSF, ELSEWHERE}
    assert report["injectTemplates"]["n_blocked"] == len(UNREADABLE)
    assert _caveats(report["injectTemplates"], "*A") == {ELSEWHERE}
    for name in ("difference_image", "dia_source_cutout", "dia_source_label"):
        assert _there(butler, name) == set(GOOD)
    assert report["trainReliability"]["n_blocked"] == 1, "training waits for what can be mended"


def test_leaving_out_what_cannot_be_read_completes_the_run(report: dict[str, Any], spoiled: Path) -> None:
    """The images that failed for what is in them do not stand in the way of training and scores."""
    left_out = ", ".join(map(str, UNREADABLE))
    arguments = run_arguments(
        spoiled,
        OUTPUT,
        *("-j", "1", "--no-raise-on-partial-outputs", "--extend-run", "--skip-existing", "--clobber-outputs"),
        subset=STEPS,
        inputs=f"{SPOILED},{INPUT}",
        where=f"instrument = 'SimLSST' AND visit NOT IN ({left_out})",
        settings=ONE_NETWORK,
    )
    succeeded, failed, _ = executed(command("pipetask", *arguments))
    assert failed == 0
    assert succeeded < 10, "what was there is made again"
    assert _there(open_butler(spoiled, OUTPUT), "dia_source_vetting") == set(GOOD)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return main_run(tmp_path_factory.getbasetemp())[0]


def test_tables_that_cannot_be_used(finished: Path, tmp_path: Path) -> None:
    """No DIA source in one detector, a column missing in another, a wrong unit in a third."""
    spoiled, output = "u/test/spoiled_tables", "u/test/bad_tables"
    butler = open_butler(finished, MAIN)
    butler.collections.register(spoiled)
    tables = {
        visit: butler.get("dia_source_detector", visit=visit, detector=0) for visit in (1001, 1002, 1003)
    }
    tables[1001] = tables[1001][:0]
    tables[1002].remove_column("psfFluxErr")
    tables[1003]["psfFlux"].unit = u.mJy
    for visit, table in tables.items():
        butler.put(table, "dia_source_detector", visit=visit, detector=0, run=spoiled)
    graph, summary = tmp_path / "tables.qg", tmp_path / "report.json"
    arguments = run_arguments(
        finished,
        output,
        *("-j", "1", "--save-qgraph", str(graph)),
        subset="vetting-prepare",
        inputs=f"{spoiled},{MAIN},{INPUT}",
        settings=(),
    )
    command("pipetask", *arguments, check=False)
    command("pipetask", "report", finished, graph, "--force-v2", "--full-output-filename", summary)
    report = json.loads(summary.read_text())["tasks"]
    assert _caveats(report["extractCutouts"], "*N") == {1001}
    for task in ("extractCutouts", "labelDiaSources"):
        failures = _failures(report[task])
        assert set(failures) == {1002, 1003}
        start = "TableSchemaError: dia_source_detector: expected column"
        assert f"{start} 'psfFluxErr' as f8 [nJy], found no such column" in failures[1002]
        assert f"{start} 'psfFlux' as unit nJy, found unit mJy" in failures[1003]
    made = open_butler(finished, output)
    assert len(made.get("dia_source_label", visit=1001, detector=0)) == 0
    catalog = butler.get("injected_difference_catalog", visit=1001, detector=0)
    assert len(made.get("missed_injection", visit=1001, detector=0)) == len(catalog) > 0


def test_no_hosts_and_no_injection_in_a_visit(finished: Path) -> None:
    output = "u/test/no_hosts"
    arguments = run_arguments(
        finished,
        output,
        *("-j", "1"),
        subset="injection-catalogs,injection-pixels,vetting-prepare",
        inputs=f"{MAIN},{INPUT}",
        settings=("selectHosts:bands=['r']", "selectHosts:maxMag=15.1"),
    )
    assert executed(command("pipetask", *arguments)) == (17, 0, 17)
    butler = open_butler(finished, output)
    log = butler.get("selectHosts_log", skymap="embedded_simlsst_v1", tract=0)
    assert any("no work found: object" in r.message and "is a host; rejected" in r.message for r in log)
    runs = [butler.collections.get_info(output).children[0]]
    assert not butler.query_datasets("host_galaxy", collections=runs, explain=False)
    for name in ("transient_epoch", "transient_template_epoch"):
        assert not butler.query_datasets(name, collections=runs, explain=False)
    for visit in (1001, 1002, 1003):
        where = {"visit": visit, "detector": 0, "collections": runs}
        assert len(butler.get("injected_difference_catalog", **where)) == 0
        for name in ("visit_image", "template_detector"):
            assert len(butler.get(f"injected_{name}_catalog", **where)) == 0
            injected, image = (butler.get(one, visit=visit, detector=0) for one in (f"injected_{name}", name))
            np.testing.assert_array_equal(injected.image.array, image.image.array)
        assert set(butler.get("dia_source_label", **where)["state"]) <= {"unlabelled", "masked"}
        assert len(butler.get("missed_injection", **where)) == 0


def test_stamps_larger_than_the_detector(finished: Path) -> None:
    butler = open_butler(finished, MAIN)
    names = ("injected_visit_image", "injected_template_detector", "difference_image", "dia_source_detector")
    inputs = [butler.get(name, visit=1001, detector=0) for name in names]
    config = ExtractCutoutsConfig()
    config.stampSize = 401
    with pytest.raises(
        ImageBoxError, match=r"difference_image: .*stamps of 401 pixels \(stampSize\), found.*400"
    ):
        ExtractCutoutsTask(config=config).run(*inputs)

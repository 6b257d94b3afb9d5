"""A page of a real run, from butler queries, and the command that writes it."""

import base64
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dia_vetting.cli import main
from dia_vetting.report.gathering import gather_run
from dia_vetting.report.joining import join_run
from dia_vetting.report.tables import PageLimits
from pipeline_runs import MAIN, main_run, open_butler, tiny_survey


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return main_run(tmp_path_factory.getbasetemp())[0]


def _page(text: str) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Return what is told of a page, and the columns of its sources, without the code that wrote them."""
    found = dict(re.findall(r'<script type="[a-z/]+" id="([\w-]+)">(.*?)</script>', text, re.DOTALL))
    meta = json.loads(found["meta"])
    data = zlib.decompress(base64.b64decode(found["table-sources"]))
    header = meta["tables"]["sources"]
    columns = {
        c["name"]: np.frombuffer(data, c["dtype"], header["rows"] * c["width"], c["offset"])
        for c in header["columns"]
    }
    return meta, columns


def test_the_command_writes_every_source_of_the_run(repo: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    result = CliRunner().invoke(main, ["report", str(repo), MAIN, "--instrument", "SimLSST", "-o", str(path)])
    assert result.exit_code == 0, result.output
    text = path.read_text(encoding="utf-8")
    meta, columns = _page(text)
    butler = open_butler(repo, MAIN)
    scores = [butler.get(ref) for ref in butler.query_datasets("dia_source_vetting")]
    wanted = {int(i): float(s) for table in scores for i, s in table["diaSourceId", "reliability"].iterrows()}
    found = dict(zip(columns["id"].tolist(), columns["reliability"].tolist(), strict=True))
    assert found.keys() == wanted.keys()
    np.testing.assert_array_equal([found[i] for i in wanted], np.float32(list(wanted.values())))
    assert f"{len(wanted)} of {len(wanted)} sources shown" in result.output
    assert meta["totals"]["stamps_shown"] == len(wanted)
    headline = butler.get("reliability_metrics")["headline"]
    assert meta["models"][""]["headline"] == json.loads(json.dumps(headline).replace("NaN", "null"))
    assert set(meta["models"]) == {"", "seed_cnn_", "shipped_"}
    assert np.isfinite(columns["umap_x"]).mean() > 0.9
    code = re.sub(r"<script type=.*?</script>|http://www.w3.org/2000/svg", "", text, flags=re.DOTALL)
    assert re.findall(r"https?://|\bsrc=|@import|url\((?!#)|\bfetch\(|XMLHttpRequest", code) == []


def test_the_same_run_makes_the_same_page(repo: Path, tmp_path: Path) -> None:
    pages = []
    for name in ("a.html", "b.html"):
        arguments = ["report", str(repo), MAIN, "--instrument", "SimLSST", "-o", str(tmp_path / name)]
        assert CliRunner().invoke(main, arguments).exit_code == 0
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_times_and_objects_are_those_of_the_run(repo: Path) -> None:
    butler = open_butler(repo, MAIN)
    run = gather_run(butler, str(repo), MAIN, "SimLSST")
    assert "dia_object" not in run.missing
    page = join_run(run, PageLimits())
    sources = butler.get("dia_source", skymap="embedded_simlsst_v1", tract=0)
    for row in sources[::17]:
        k = int(np.flatnonzero(page.sources["id"] == row["diaSourceId"])[0])
        visit = page.sources["visit"][k]
        assert page.objects["id"][page.sources["object"][k]] == row["diaObjectId"]
        assert page.visits["mjd"][visit] == pytest.approx(row["midpointMjdTai"], abs=1e-4)
        assert page.sources["psfFlux"][k] == pytest.approx(row["psfFlux"], rel=1e-5)
        assert page.visits["day_obs"][visit] > 20200101


def test_a_collection_without_scores_is_one_line(repo: Path, tmp_path: Path) -> None:
    bare = tiny_survey(repo.parent)
    arguments = [
        "report",
        str(bare),
        "SimLSST/defaults",
        "--instrument",
        "SimLSST",
        "-o",
        str(tmp_path / "a.html"),
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "expected dia_source_vetting of SimLSST, found none" in result.output
    assert not (tmp_path / "a.html").exists()

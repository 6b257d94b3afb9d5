"""The command line: what it prints, and that bad input ends in one line and exit code 1."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dia_vetting.cli import main
from lsst.daf.butler import Butler


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_help_starts_without_the_heavy_libraries() -> None:
    code = (
        "import sys; from dia_vetting.cli import main\n"
        "try: main(['make-survey', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'galsim', 'piff', 'sep', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--preset" in done.stdout
    assert done.stdout.strip().endswith("[]")


def test_make_survey_prints_the_counts_and_the_collection(tmp_path: Path) -> None:
    config = tmp_path / "survey.yaml"
    config.write_text(
        "preset: ztf\n"
        "size: {columns: 1, rows: 1, detector_width: 200, detector_height: 200, bands: [r], "
        "science_visits: 1, template_visits: 1}\n"
    )
    result = run("make-survey", tmp_path / "repo", "--config", config, "--seed", 3)
    assert result.exit_code == 0, result.output
    assert "1 template_visit_image, 1 visit_image" in result.output
    assert "collection SimZTF/defaults (2 made now)" in result.output
    assert "hot_pixel" in result.output
    butler = Butler.from_config(str(tmp_path / "repo"), collections="SimZTF/defaults")
    assert butler.get("survey_config", instrument="SimZTF")["seed"] == 3
    again = run("make-survey", tmp_path / "repo", "--config", config, "--seed", 3)
    assert "(0 made now)" in again.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--preset", "hubble"), "key 'preset': expected one of decam, hsc, lsst, ztf, found 'hubble'"),
        (("--size", "vast"), "key 'size': expected one of demo, quick, tiny, found 'vast'"),
        (("--config", "absent.yaml"), "absent.yaml: expected a YAML file"),
    ],
)
def test_bad_configuration_is_one_line(tmp_path: Path, arguments: tuple[str, str], words: str) -> None:
    result = run("make-survey", tmp_path / "repo", *arguments)
    assert result.exit_code == 1
    assert words in result.output
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    assert not (tmp_path / "repo").exists()


def test_preset_and_file_exclude_each_other(tmp_path: Path) -> None:
    result = run("make-survey", tmp_path / "repo", "--preset", "lsst", "--config", "a.yaml")
    assert result.exit_code == 2
    assert "exclude each other" in result.output


def test_a_folder_of_other_files_is_no_repository(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    result = run("make-survey", tmp_path, "--size", "tiny")
    assert result.exit_code == 1
    assert "expected a butler repository or an empty folder" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("content", [None, []])
def test_ingest_of_nothing(tmp_path: Path, content: list[str] | None) -> None:
    folder = tmp_path / "exposures"
    if content is not None:
        folder.mkdir()
    result = run("ingest-decam", folder, tmp_path / "repo")
    assert result.exit_code == 1
    assert str(folder) in result.output
    assert not (tmp_path / "repo").exists()

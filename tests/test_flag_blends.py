"""The command dia-vetting flag-blends."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from blend_samples import make_stamps, small_model
from click.testing import CliRunner, Result
from dia_vetting.blends import shipped
from dia_vetting.blends.flags import BlendFlag
from dia_vetting.blends.methods import get_method
from dia_vetting.blends.model_io import to_table
from dia_vetting.cli import main

COLUMNS = ["p_blend", "n_sources", "overlap_area", "sextractor_blend", "flags"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.parquet"
    pq.write_table(to_table(small_model()), path)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["flag-blends", *map(str, arguments)])


def test_flags_are_in_the_order_of_the_stamps(tmp_path: Path, model: Path) -> None:
    stamps, _ = make_stamps(30, snr=60)
    images = stamps.images.copy()
    images[4] = 0
    images[9, 3, 3] = np.nan
    np.savez(tmp_path / "stamps.npz", images=images, noise_sigma=stamps.noise_sigma, psf_fwhm=stamps.psf_fwhm)
    output = tmp_path / "flags.parquet"
    result = run(tmp_path / "stamps.npz", "--output", output, "--model", model)
    assert result.exit_code == 0, result.output
    assert "30 stamps" in result.output
    assert "1 of them without a score" in result.output
    table = pq.read_table(output)
    assert table.column_names == COLUMNS
    assert table.schema.metadata[b"blend_model"].decode() == small_model().card.content_hash
    rows = table.to_pylist()
    assert rows[4]["flags"] & BlendFlag.ALL_ZERO
    assert all(rows[4][name] is None for name in COLUMNS[:-1])
    assert rows[9]["flags"] == BlendFlag.NAN
    for name, column in (("ours", "p_blend"), ("sextractor", "sextractor_blend")):
        one = get_method(name, small_model() if name == "ours" else None)
        wanted = one.predict(type(stamps)(images, stamps.noise_sigma, stamps.psf_fwhm)).p_blend
        found = np.array([np.nan if row[column] is None else row[column] for row in rows], float)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert any(row["sextractor_blend"] for row in rows)


@pytest.mark.parametrize("suffix", [".npy", ".fits"])
def test_noise_and_psf_are_estimated_where_a_file_has_none(tmp_path: Path, model: Path, suffix: str) -> None:
    stamps, _ = make_stamps(12)
    path = tmp_path / f"stamps{suffix}"
    if suffix == ".npy":
        np.save(path, stamps.images)
    else:
        fits.writeto(path, stamps.images)
    output = tmp_path / "flags.parquet"
    assert run(path, "--output", output, "--model", model).exit_code == 0
    flags = pq.read_table(output).column("flags").to_pylist()
    assert set(flags) == {int(BlendFlag.NOISE_ESTIMATED | BlendFlag.PSF_UNKNOWN)}


def test_bad_input_ends_in_one_line(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "flat.npy", np.zeros((30, 30)))
    output = tmp_path / "flags.parquet"
    result = run(tmp_path / "flat.npy", "--output", output, "--model", model)
    assert result.exit_code == 1
    assert "flat.npy, key 'images': expected shape (N, S, S)" in result.output
    monkeypatch.setattr(shipped, "models_folder", lambda: tmp_path / "none")
    (tmp_path / "none").mkdir()
    result = run(tmp_path / "flat.npy", "--output", output)
    assert result.exit_code == 1
    assert "expected a file with a model (no model is shipped)" in result.output
    assert not output.exists()

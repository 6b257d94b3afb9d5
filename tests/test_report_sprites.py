"""Stamps as pictures."""

import io

import numpy as np
import pytest
from dia_vetting.masks import MaskBit
from dia_vetting.report.sprites import compress_stamps, make_sheets, tile_size
from PIL import Image
from reliability_samples import make_cutouts


def tile_of(sheets, row):
    """Return the three stamps of a row as the page cuts them out, y upwards."""
    per_sheet = sheets.columns * sheets.rows
    picture = np.asarray(Image.open(io.BytesIO(sheets.sheets[row // per_sheet])).convert("L")).astype(float)
    place = row % per_sheet
    top, left = place // sheets.columns * sheets.tile, place % sheets.columns * 3 * sheets.tile
    return np.stack(
        [
            picture[top : top + sheets.size, left + k * sheets.tile : left + k * sheets.tile + sheets.size][
                ::-1
            ]
            for k in range(3)
        ]
    )


@pytest.mark.parametrize(("size", "tile"), [(21, 32), (30, 32), (32, 32), (51, 64)])
def test_every_stamp_is_where_its_row_says(size: int, tile: int) -> None:
    cutouts, _, _ = make_cutouts(430, size=size)
    stamps = compress_stamps(cutouts)
    order = np.asarray(cutouts["diaSourceId"])[::-1].copy()
    sheets = make_sheets([compress_stamps(cutouts[:200]), compress_stamps(cutouts[200:])], order)
    assert sheets is not None
    assert (sheets.size, sheets.tile, tile_size(size)) == (size, tile, tile)
    assert len(sheets.sheets) == 2
    np.testing.assert_array_equal(sheets.ids, order)
    for row in (0, 7, 399, 400, 429):
        at = int(np.flatnonzero(stamps.ids == order[row])[0])
        difference = np.abs(tile_of(sheets, row) - stamps.pixels[at]).mean()
        other = np.abs(tile_of(sheets, row) - stamps.pixels[at - 3]).mean()
        assert difference < 8 < 16 < other


def test_a_bright_neighbour_does_not_shine_into_a_dark_stamp() -> None:
    cutouts, _, _ = make_cutouts(40, size=32)
    stamps = compress_stamps(cutouts)
    stamps.pixels[::2], stamps.pixels[1::2] = 0, 255
    sheets = make_sheets([stamps], stamps.ids)
    assert sheets is not None
    for row in range(40):
        assert np.abs(tile_of(sheets, row) - stamps.pixels[row]).max() < 30


def test_levels_mean_what_is_said() -> None:
    """Zero of the difference is grey, its brightest pixel at the end of the scale, and signs are kept."""
    cutouts, _, _ = make_cutouts(4, size=30)
    cutouts["difference"][:] = 0
    cutouts["difference"][0, 15, 15] = 400.0  # 40 sigma
    cutouts["difference"][1, 10, 12] = -80.0
    stamps = compress_stamps(cutouts)
    np.testing.assert_allclose(stamps.reach, [40, 8, 6, 6])
    assert stamps.pixels[0, 2, 15, 15] == 255
    assert stamps.pixels[1, 2, 10, 12] == 1
    assert (np.delete(stamps.pixels[0, 2].ravel(), 15 * 30 + 15) == 128).all()


def test_pixels_that_are_not_known_are_told() -> None:
    cutouts, _, _ = make_cutouts(6, size=30)
    cutouts["science"][1, :, :4] = np.nan
    cutouts["mask"][3, 2, 5] = int(MaskBit.NO_DATA)
    cutouts["template"][5] = np.nan
    stamps = compress_stamps(cutouts)
    sheets = make_sheets([stamps], stamps.ids)
    assert sheets is not None
    assert sheets.mask_row.tolist() == [-1, 0, -1, 1, -1, 2]
    unpacked = np.unpackbits(sheets.masks, axis=1)[:, :900].reshape(-1, 30, 30).astype(bool)
    assert unpacked[0, :, :4].all()
    assert unpacked[0].sum() == 120
    assert np.argwhere(unpacked[1]).tolist() == [[2, 5]]
    assert unpacked[2].all()
    assert np.isfinite(stamps.reach).all()


def test_what_is_not_wanted_is_left_out() -> None:
    cutouts, _, _ = make_cutouts(10, size=21)
    stamps = compress_stamps(cutouts)
    assert make_sheets([stamps], np.array([-5])) is None
    sheets = make_sheets([stamps], stamps.ids[[4, 2]])
    assert sheets is not None
    np.testing.assert_array_equal(sheets.ids, stamps.ids[[4, 2]])
    bigger = compress_stamps(make_cutouts(10, size=30, seed=1)[0])
    with pytest.raises(ValueError, match="one size"):
        make_sheets([stamps, bigger], np.concatenate([stamps.ids, bigger.ids]))

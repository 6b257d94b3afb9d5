import numpy as np
import pytest
from astropy.nddata import Cutout2D, NoOverlapError
from dia_vetting.cutouts import PlacedPlanes, cut_plane, cut_triplets, stamp_corners
from dia_vetting.masks import MaskBit
from dia_vetting.planes import Planes
from hypothesis import given, settings
from hypothesis import strategies as st


def reference(plane, x, y, size, fill):
    """The same stamps by astropy, one by one."""
    stamps = np.full((len(x), size, size), fill, plane.dtype)
    for i, position in enumerate(zip(x, y, strict=True)):
        try:
            stamps[i] = Cutout2D(plane, position, size, mode="partial", fill_value=fill).data
        except NoOverlapError:
            continue
    return stamps


def cut(plane, x, y, size, fill):
    return cut_plane(plane, stamp_corners(x, size), stamp_corners(y, size), size, fill)


def planes(shape, seed=0, mask=0):
    rng = np.random.default_rng(seed)
    return Planes(rng.normal(size=shape), rng.uniform(1, 2, shape), np.full(shape, mask, np.uint32))


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_same_pixels_as_cutout2d(shape, size, seed):
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=shape).astype(np.float32)
    x = rng.uniform(-2 * size, shape[1] + 2 * size, 25)
    y = rng.uniform(-2 * size, shape[0] + 2 * size, 25)
    x[:5], y[5:10] = np.rint(x[:5]), np.rint(y[5:10])
    np.testing.assert_array_equal(cut(plane, x, y, size, np.nan), reference(plane, x, y, size, np.nan))


@pytest.mark.parametrize("size", [1, 2, 30, 31, 51])
def test_source_is_within_half_a_pixel_of_the_geometric_centre(size):
    x = np.linspace(100, 103, 61)
    offset = x - stamp_corners(x, size) - (size - 1) / 2
    assert np.abs(offset).max() <= 0.5
    whole = np.arange(5.0)
    np.testing.assert_array_equal(whole - stamp_corners(whole, size), size // 2)


def test_flipped_image_gives_flipped_stamps():
    # A convention that leans to one side would fail here for an even size.
    plane = np.arange(60.0 * 60).reshape(60, 60)
    x, y = np.array([20.3, 31.8]), np.array([25.1, 29.6])
    stamps = cut(plane, x, y, 30, np.nan)
    mirrored = cut(np.ascontiguousarray(plane[:, ::-1]), 59 - x, y, 30, np.nan)
    np.testing.assert_array_equal(mirrored, stamps[:, :, ::-1])


def test_stamp_larger_than_the_image_holds_all_of_it():
    plane = np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3)
    stamp = cut(plane, np.array([1.0]), np.array([0.0]), 51, np.nan)[0]
    np.testing.assert_array_equal(stamp[25:27, 24:27], plane)
    assert np.isnan(stamp).sum() == 51**2 - 6


def test_no_positions_and_bad_size():
    assert cut(np.ones((9, 9)), np.zeros(0), np.zeros(0), 5, 0.0).shape == (0, 5, 5)
    with pytest.raises(ValueError, match="at least 1"):
        cut(np.ones((9, 9)), np.zeros(1), np.zeros(1), 0, 0.0)


def test_triplets_off_the_edge_are_kept_and_flagged():
    placed = PlacedPlanes(planes((40, 50)), 1000, 2000)
    x, y = (
        np.array([1020.0, 1000.0, 900.0, np.nan, np.inf]),
        np.array([2020.0, 2000.0, 2020.0, 2020.0, 2000.0]),
    )
    triplets = cut_triplets(placed, placed, placed, x, y, 11)
    np.testing.assert_allclose(triplets.valid_fraction, [1, 36 / 121, 0, 0, 0], rtol=1e-6)
    off = np.isnan(triplets.science)
    np.testing.assert_array_equal(triplets.mask[off], MaskBit.NO_DATA)
    np.testing.assert_array_equal(triplets.mask[~off], 0)
    for stamps in (triplets.template, triplets.difference, triplets.variance):
        np.testing.assert_array_equal(np.isnan(stamps), off)
    np.testing.assert_array_equal(triplets.x_first[:2], [1015, 995])
    np.testing.assert_array_equal(triplets.difference[0], placed.planes.image[15:26, 15:26])


def test_each_image_is_cut_in_its_own_frame():
    big = planes((60, 60), seed=1)
    part = Planes(big.image[10:50, 20:55], big.variance[10:50, 20:55], big.mask[10:50, 20:55])
    whole, inner = PlacedPlanes(big, 100, 100), PlacedPlanes(part, 120, 110)
    triplets = cut_triplets(inner, whole, inner, np.array([138.2]), np.array([130.9]), 12)
    np.testing.assert_array_equal(triplets.science, triplets.template)
    assert triplets.valid_fraction[0] == 1


def test_mask_unites_science_and_difference_and_never_holds_the_answer():
    science = planes((20, 20), mask=MaskBit.SAT | MaskBit.INJECTED)
    difference = planes((20, 20), mask=MaskBit.DETECTED | MaskBit.INJECTED_CORE)
    template = planes((20, 20), mask=MaskBit.CR)
    triplets = cut_triplets(
        PlacedPlanes(science),
        PlacedPlanes(template),
        PlacedPlanes(difference),
        np.array([10.0]),
        np.array([10.0]),
        9,
    )
    np.testing.assert_array_equal(triplets.mask, MaskBit.SAT | MaskBit.DETECTED)


def test_nan_inside_the_image_counts_as_invalid_but_not_as_off_the_edge():
    science, template = planes((20, 20)), planes((20, 20), seed=1)
    template.image[8:10, 8:10] = np.nan
    placed = PlacedPlanes(science)
    triplets = cut_triplets(placed, PlacedPlanes(template), placed, np.array([10.0]), np.array([10.0]), 10)
    np.testing.assert_allclose(triplets.valid_fraction, 0.96)
    assert np.isfinite(triplets.science).all()
    assert not triplets.mask.any()

"""Flag bits of blends."""

import numpy as np
import pytest
from dia_vetting.blends.flags import UNSCORED, BlendFlag, flag_names, unscored


def test_bits_are_single_and_differ() -> None:
    values = [int(bit) for bit in BlendFlag]
    assert all(value.bit_count() == 1 for value in values)
    assert len(set(values)) == len(values)


def test_names_of_bits() -> None:
    assert flag_names(0) == []
    assert flag_names(int(BlendFlag.NAN | BlendFlag.NO_NOISE)) == ["NAN", "NO_NOISE"]
    with pytest.raises(ValueError, match="0x40000000"):
        flag_names(1 << 30 | 1)


def test_what_cannot_be_scored() -> None:
    flags = np.array([0, BlendFlag.NAN, BlendFlag.ALL_ZERO, BlendFlag.NAN | BlendFlag.SIZE])
    assert unscored(flags).tolist() == [False, False, True, True]
    assert not UNSCORED & (BlendFlag.OFF_EDGE | BlendFlag.SATURATED | BlendFlag.PSF_UNKNOWN)

"""Several parts at once."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from blend_samples import make_stamps, small_model
from dia_vetting.blends.methods import get_method
from dia_vetting.blends.threads import in_threads


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_parts_are_done_side_by_side_and_come_in_order() -> None:
    together = threading.Barrier(3, timeout=60)  # passes only if three wait at once

    def work(part: int) -> tuple[int, int]:
        together.wait()
        return part, torch.get_num_threads()

    assert in_threads(work, [5, 3, 4]) == [(5, 1), (3, 1), (4, 1)]
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_what_fails_is_raised_and_threads_are_as_before() -> None:
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda part: 1 / part, [1, 0, 2])
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_answers_do_not_depend_on_threads() -> None:
    stamps, _ = make_stamps(600, seed=3)
    method = get_method("ours", small_model("ours"))
    many = method.predict(stamps)
    torch.set_num_threads(1)
    one = method.predict(stamps)
    np.testing.assert_array_equal(many.p_blend, one.p_blend)
    np.testing.assert_array_equal(many.overlap_area, one.overlap_area)

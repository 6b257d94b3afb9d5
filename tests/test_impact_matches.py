"""Which object is which true source."""

from __future__ import annotations

import dataclasses

import numpy as np
from dia_vetting.blends.impact.matches import MatchCriteria, match_objects
from impact_samples import objects_of, truth_of, truth_table, uniform


def shifted(objects, east):
    return dataclasses.replace(objects, ra=objects.ra + np.asarray(east) / 3600)


def test_everything_at_its_place_is_matched_to_itself() -> None:
    east, north = uniform(300, 1)
    truth = truth_of(truth_table(east, north, np.full(300, 22.0)))
    matches = match_objects(objects_of(truth), truth)
    assert matches.source_of.tolist() == matches.object_of.tolist() == list(range(300))
    assert not matches.unrecognised.any()


def test_the_flux_decides_between_two_sources() -> None:
    """The object of the bright one lies nearer to a faint one."""
    truth = truth_of(truth_table(np.array([0.0, 0.5]), np.zeros(2), np.array([21.0, 22.3])))
    objects = shifted(objects_of(truth, np.array([0])), [0.3])
    matches = match_objects(objects, truth)
    assert matches.source_of.tolist() == [0]
    assert matches.object_of.tolist() == [0, -1]
    assert matches.blend.tolist() == matches.unrecognised.tolist() == [True]


def test_limits() -> None:
    truth = truth_of(truth_table(np.array([0.0, 60.0, 90.0]), np.zeros(3), np.full(3, 22.0)))
    objects = shifted(objects_of(truth), [0.9, 1.1, 0.0])
    objects = dataclasses.replace(objects, flux=objects.flux * [1.0, 1.0, 5.0])
    assert match_objects(objects, truth).source_of.tolist() == [0, -1, -1]
    wide = match_objects(objects, truth, MatchCriteria(radius=1.2, magnitudes=2.0))
    assert wide.source_of.tolist() == [0, 1, 2]
    negative = dataclasses.replace(objects, flux=-objects.flux)
    assert (match_objects(negative, truth).source_of == -1).all()


def test_one_source_has_one_object() -> None:
    truth = truth_of(truth_table(np.zeros(1), np.zeros(1), np.array([22.0])))
    objects = shifted(objects_of(truth, np.array([0, 0, 0])), [0.5, -0.2, 0.4])
    matches = match_objects(objects, truth)
    assert matches.source_of.tolist() == [-1, 0, -1]
    assert not matches.blend.any()


def test_blends_are_unrecognised_where_a_companion_has_no_object() -> None:
    east = np.array([0.0, 1.2, 30.0, 31.2, 60.0, 61.2, 90.0, 92.5])
    mag = np.array([22.0, 22.5, 22.0, 22.5, 22.0, 25.0, 22.0, 22.0])
    truth = truth_of(truth_table(east, 0 * east, mag))
    matches = match_objects(objects_of(truth, np.array([0, 1, 2, 4, 6])), truth)
    # both of a pair; one of a pair; the companion too faint; the companion too far away
    assert matches.source_of.tolist() == [0, 1, 2, 4, 6]
    assert matches.blend.tolist() == [True, True, True, False, False]
    assert matches.unrecognised.tolist() == [False, False, True, False, False]

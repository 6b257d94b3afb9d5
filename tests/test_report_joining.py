"""What goes onto the page, and what is left out."""

import dataclasses

import numpy as np
import pytest
from dia_vetting.reliability.ids import MissingIdError
from dia_vetting.report.joining import join_run
from dia_vetting.report.notes import page_notes
from dia_vetting.report.sampling import choose_objects, choose_stamps
from dia_vetting.report.tables import PageLimits
from report_samples import synthetic, synthetic_page, synthetic_tables


def test_every_source_is_there_once_with_its_own_values() -> None:
    run, page, _ = synthetic_page()
    scores = {int(row["diaSourceId"]): row for row in run.scores}
    owner = dict(zip(run.associations["diaSourceId"], run.associations["diaObjectId"], strict=True))
    truth = dict(zip(run.truth["diaSourceId"], run.truth["truth_class"], strict=True))
    assert sorted(page.sources["id"].tolist()) == sorted(scores)
    for k in range(0, len(page.sources["id"]), 29):
        row = scores[int(page.sources["id"][k])]
        np.testing.assert_equal(page.sources["reliability"][k], row["reliability"])
        assert page.visits["visit"][page.sources["visit"][k]] == row["visit"]
        assert page.objects["id"][page.sources["object"][k]] == owner[row["diaSourceId"]]
        assert page.sources["truth"][k] == truth[row["diaSourceId"]]


def test_sources_are_by_object_and_time_and_objects_know_theirs() -> None:
    _, page, _ = synthetic_page()
    mjd = page.visits["mjd"][page.sources["visit"]]
    assert (np.diff(page.sources["object"]) >= 0).all()
    for k in range(len(page.objects["id"])):
        rows = slice(page.objects["first"][k], page.objects["first"][k] + page.objects["n"][k])
        assert (page.sources["object"][rows] == k).all()
        assert (np.diff(mjd[rows]) >= 0).all()
        assert page.objects["nights"][k] == len(set(page.visits["day_obs"][page.sources["visit"][rows]]))
        assert set(page.objects["bands"][k]) == set(page.visits["band"][page.sources["visit"][rows]])
        best = page.sources["reliability"][rows]
        if np.isfinite(best).any():
            assert page.objects["best"][k] == np.nanmax(best)
    assert page.objects["n"].sum() == len(mjd)


def test_neighbours_and_forced_points_are_those_of_the_tables() -> None:
    run, page, _ = synthetic_page()
    wanted = dict(zip(run.embedding["diaSourceId"], np.asarray(run.embedding["neighbours"]), strict=True))
    for k in range(0, len(page.sources["id"]), 37):
        assert (
            page.sources["id"][page.sources["neighbours"][k]].tolist()
            == wanted[page.sources["id"][k]].tolist()
        )
    assert len(page.forced["flux"]) == len(run.forced)
    total = {int(i): 0.0 for i in page.objects["id"]}
    for row in run.forced:
        total[int(row["diaObjectId"])] += float(row["psfDiffFlux"])
    found = np.bincount(page.forced["object"], page.forced["flux"], minlength=len(total))
    np.testing.assert_allclose(found, [total[int(i)] for i in page.objects["id"]], rtol=1e-4)


def test_the_error_of_the_subtraction_is_part_of_that_of_forced_fluxes() -> None:
    run = synthetic_tables()
    forced = run.forced.copy()
    forced["staticFluxErr"][:] = 50.0
    forced["staticFluxErr"][0] = np.nan
    page = join_run(dataclasses.replace(run, forced=forced), PageLimits())
    assert set(np.round(page.forced["err"], 3).tolist()) == {130.0, 120.0}


def test_a_run_of_scores_alone_makes_a_page() -> None:
    run = synthetic_tables()
    bare = dataclasses.replace(
        run,
        **dict.fromkeys(
            (
                "measurements",
                "labels",
                "blends",
                "truth",
                "embedding",
                "associations",
                "objects",
                "forced",
                "verdicts",
                "curves",
            )
        ),
        metrics={},
        missing=("dia_source",),
    )
    page = join_run(bare, PageLimits())
    assert (page.objects["id"] == 0).all()
    assert len(page.objects["id"]) == len(run.scores)
    assert len(page.stamps) == 0
    assert page.totals["objects"] == 0
    assert [note.text for note in page_notes(bare, page, PageLimits(), False)] == [
        "No dia_source in the collection: sources are not associated: each stands for itself."
    ]


def test_a_visit_without_a_record_has_no_time() -> None:
    run = dataclasses.replace(synthetic_tables(), visits=synthetic_tables().visits[:4])
    page = join_run(run, PageLimits())
    assert np.isnan(page.visits["mjd"]).sum() == 8
    assert len(page.sources["id"]) == len(run.scores)


def test_an_id_that_stands_twice_is_refused() -> None:
    run = synthetic_tables()
    twice = dataclasses.replace(run, scores=run.scores[[0, 1, 1]])
    with pytest.raises(MissingIdError):
        join_run(twice, PageLimits())


def test_limits_are_kept_and_said() -> None:
    run = synthetic_tables()
    limits = PageLimits(sources=300, stamps=100, forced=200, gallery=5)
    page = join_run(run, limits)
    shown = page.totals
    assert 250 < shown["sources_shown"] <= 300
    assert shown["stamps_shown"] == 100
    assert 150 < shown["forced_shown"] <= 200
    per_object = {
        int(i): n
        for i, n in zip(*np.unique(synthetic().object_id[synthetic().owner], return_counts=True), strict=True)
    }
    for object_id, n in zip(page.objects["id"], page.objects["n"], strict=True):
        assert n == per_object[int(object_id)], "an object was cut"
    texts = " ".join(note.text for note in page_notes(run, page, limits, True))
    for words in (
        f"{shown['sources_shown']} of 600 sources",
        "100 of the sources shown",
        f"{shown['forced_shown']} of",
    ):
        assert words in texts
    of_gallery = np.concatenate(list(page.galleries.values()))
    assert np.isin(page.sources["id"][of_gallery], page.stamps).all()


def test_draws_are_of_whole_groups_and_repeat() -> None:
    group = np.repeat(np.arange(100), 7)
    group[:20] = -1
    chosen = choose_objects(group, 350, 0)
    assert chosen.sum() > 340
    np.testing.assert_array_equal(chosen, choose_objects(group, 350, 0))
    assert (chosen != choose_objects(group, 350, 1)).any()
    for k in range(3, 100):
        assert len(set(chosen[group == k])) == 1


def test_half_of_the_stamps_go_to_the_best_objects() -> None:
    group = np.repeat(np.arange(50), 4)
    rank = np.arange(50)[::-1]
    available = np.ones(200, dtype=bool)
    available[196] = False
    chosen = choose_stamps(group, rank, available, np.array([0, 1]), 40, 0)
    assert chosen.sum() == 40
    assert chosen[:2].all()
    assert chosen[184:196].all()
    assert not chosen[196]


def test_galleries_are_the_extremes() -> None:
    _, page, _ = synthetic_page()
    score = page.sources["reliability"]
    rows = page.galleries["Injected, lowest scores"]
    injected = score[(page.sources["truth"] == "injected") & np.isfinite(score)]
    np.testing.assert_array_equal(score[rows], np.sort(injected)[: len(rows)])

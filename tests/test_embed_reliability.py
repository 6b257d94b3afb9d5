"""The task that makes the map of sources."""

import numpy as np
import pytest
from dia_vetting.errors import BadInputError
from dia_vetting.reliability.embed_reliability import EmbedReliabilityConfig, EmbedReliabilityTask
from dia_vetting.reliability.embedding_rows import LazyCutouts
from dia_vetting.reliability.model_dataset import from_table
from dia_vetting.reliability.schemas import RELIABILITY_EMBEDDING
from dia_vetting.reliability.training_rows import DuplicateIdError
from dia_vetting.skycells import sky_cell, sky_fold
from lsst.pipe.base import NoWorkFound
from lsst.pipe.base.testUtils import lintConnections
from reliability_samples import by_visit, make_cutouts, trained


def _lazy(cutouts):
    return [
        LazyCutouts(f"visit {visit}", lambda columns, table=table: table[list(columns)])
        for visit, table in by_visit(cutouts).items()
    ]


def _task(**changes):
    config = EmbedReliabilityConfig()
    for name, value in ({"kept": 4} | changes).items():
        setattr(config, name, value)
    config.validate()
    return EmbedReliabilityTask(config=config)


def test_a_row_in_is_a_row_out_and_what_has_no_features_says_why():
    cutouts = make_cutouts(80, size=21, ra0=20.0)[0]
    cutouts["science"][4] = np.nan
    task = _task()
    table = RELIABILITY_EMBEDDING.check(task.run(_lazy(cutouts), trained()[2].model).embedding)
    assert sorted(table["diaSourceId"]) == sorted(cutouts["diaSourceId"])
    lost = np.asarray(table["diaSourceId"]) == cutouts["diaSourceId"][4]
    np.testing.assert_array_equal(table["reason"] != "", lost)
    np.testing.assert_array_equal(np.isnan(table["umap_x"]), lost)
    assert (table["neighbours"][lost] == 0).all()
    assert set(np.asarray(table["neighbours"][~lost]).ravel()) <= set(table["diaSourceId"][~lost])
    assert not table["trained"].any(), "the network never saw this sky"
    assert table.meta["model_content_hash"] == from_table(trained()[2].model).card.content_hash
    assert task.metadata["with_features"] == 79


def test_the_sky_that_the_network_saw_is_marked():
    cutouts, _, result = trained()
    card = from_table(result.model).card
    for network, fold in ((0, 0), (card.members, 1)):
        table = _task(network=network).run(_lazy(cutouts), result.model).embedding
        at = {int(i): k for k, i in enumerate(cutouts["diaSourceId"])}
        rows = cutouts[[at[int(i)] for i in table["diaSourceId"]]]
        cells = sky_cell(rows["ra"], rows["dec"], card.nside)
        np.testing.assert_array_equal(table["trained"], sky_fold(cells, card.n_folds, card.seed) != fold)
        assert 0.3 < table["trained"].mean() < 0.95


def test_injected_and_others_are_apart_on_the_map():
    """By their neighbours: nearly all look like those of their own kind."""
    cutouts, _, injected = make_cutouts(300, size=21, seed=11, ra0=30.0)
    table = _task().run(_lazy(cutouts), trained()[2].model).embedding
    kind = dict(zip(cutouts["diaSourceId"].tolist(), injected.tolist(), strict=True))
    same = [
        kind[i] == kind[j] for i, row in table["diaSourceId", "neighbours"].iterrows() for j in row.tolist()
    ]
    assert np.mean(same) > 0.85


def test_too_few_sources_have_no_map():
    table = _task().run(_lazy(make_cutouts(8, size=21)[0]), trained()[2].model).embedding
    assert set(table["reason"]) == {"too few sources for a map"}
    assert np.isnan(table["umap_x"]).all()


def test_bad_input():
    model, cutouts = trained()[2].model, make_cutouts(30, size=21)[0]
    with pytest.raises(NoWorkFound):
        _task().run([LazyCutouts("nothing", lambda columns: cutouts[:0])], model)
    with pytest.raises(DuplicateIdError):
        _task().run([*_lazy(cutouts), *_lazy(cutouts[:2])], model)
    with pytest.raises(BadInputError, match="a network of index 6"):
        _task(network=6).run(_lazy(cutouts), model)


def test_connections():
    lintConnections(EmbedReliabilityConfig().ConnectionsClass)
    config = EmbedReliabilityConfig()
    config.modelSource = "shipped"
    assert "model" not in config.ConnectionsClass(config=config).inputs
    assert "model" in EmbedReliabilityConfig().ConnectionsClass(config=EmbedReliabilityConfig()).inputs


def test_the_shipped_model_makes_a_map_without_a_dataset():
    table = _task(modelSource="shipped").run(_lazy(make_cutouts(40, size=30)[0])).embedding
    assert np.isfinite(table["umap_x"]).all()
    assert table.meta["model"] == "simulated-3"

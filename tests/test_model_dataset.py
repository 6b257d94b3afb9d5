"""Models as tables."""

import dataclasses
import io
import json
import pickletools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dia_vetting.reliability.inputs import CHANNELS, LAYOUT, METADATA
from dia_vetting.reliability.model_dataset import (
    FORMAT_VERSION,
    ContentHashError,
    ModelCard,
    ModelCardError,
    NewerFormatError,
    ReliabilityModel,
    TensorError,
    from_table,
    to_table,
)
from lsst.daf.butler import Butler, DatasetType

KEY = b"dia_vetting:model_card"


def make_model(**changes):
    """Return two folds of two networks of three tensors each, with two arrays beside them."""
    rng = np.random.default_rng(0)
    card = ModelCard(
        architecture="seed_cnn",
        options={"dropout": 0.5, "width": 4},
        strategy="co_teaching",
        strategy_options={"forget_rate": None},
        layout=LAYOUT,
        channels=CHANNELS,
        metadata=METADATA,
        stamp_size=30,
        min_valid_fraction=0.2,
        instrument="Synthetic",
        seed=1,
        nside=4096,
        n_folds=2,
        members=2,
        settings={"epochs": 3, "prior": None},
        label_counts={"injected": 10},
        injected_fraction=0.1,
        prior=(0.05, 0.02, 0.08),
        prevalence=0.03,
        calibration={"knots": [-1.0, 1.0], "intercept": -3.0},
        epochs=(1, 2, 2, 0),
        thresholds={"fpr_0.01": 0.4, "tpr_0.95": 0.6},
        metrics={"auc": (0.9, 0.8, 0.95)},
        software={"torch": "2"},
    ).model_copy(update=changes)
    networks = [
        {
            "weight": rng.normal(size=(3, 2, 5)).astype(np.float32),
            "empty": np.zeros((0, 4), np.float32),
            "count": np.array(7, dtype=np.int64),
        }
        for _ in range(4)
    ]
    auxiliary = {"ood0.means": rng.normal(size=(2, 3)).astype(np.float32), "rows": np.array([5, 6])}
    return ReliabilityModel(card, networks, np.array([4, 9, 10**9]), auxiliary)


def _row(table, name, network):
    """Return the number of the row of a tensor."""
    rows = zip(table.column("name").to_pylist(), table.column("network").to_pylist(), strict=True)
    return list(rows).index((name, network))


def _edit(table, name="weight", network=0, /, **values):
    """Return the table with some cells of the row of one tensor replaced."""
    rows = table.to_pylist()
    rows[_row(table, name, network)] |= values
    return pa.Table.from_pylist(rows, schema=table.schema)


def _edit_card(table, **values):
    card = json.loads(table.schema.metadata[KEY]) | values
    return table.replace_schema_metadata({KEY: json.dumps(card)})


def _assert_equal(first, second):
    assert first.card == second.card
    np.testing.assert_array_equal(first.trained_cells, second.trained_cells)
    assert len(first.networks) == len(second.networks)
    for a, b in zip([*first.networks, first.auxiliary], [*second.networks, second.auxiliary], strict=True):
        assert list(a) == list(b)
        for name in a:
            assert a[name].dtype == b[name].dtype
            assert a[name].shape == b[name].shape
            assert a[name].tobytes() == b[name].tobytes()


def test_round_trip_through_parquet_is_exact():
    model = make_model().sealed()
    file = io.BytesIO()
    pq.write_table(to_table(model), file)
    _assert_equal(from_table(pq.read_table(file)), model)


def test_round_trip_through_a_butler(tmp_path):
    model = make_model().sealed()
    Butler.makeRepo(tmp_path)
    with Butler.from_config(tmp_path, run="models") as butler:
        butler.registry.insertDimensionData(
            "instrument",
            {"name": "Synthetic", "visit_max": 1, "exposure_max": 1, "detector_max": 1, "class_name": "x"},
        )
        kind = DatasetType("reliability_model", ["instrument"], "ArrowTable", universe=butler.dimensions)
        butler.registry.registerDatasetType(kind)
        butler.put(to_table(model), kind, instrument="Synthetic")
        _assert_equal(from_table(butler.get(kind, instrument="Synthetic")), model)
        stored = butler.getURI(kind, instrument="Synthetic").ospath
    _assert_equal(from_table(pq.read_table(stored)), model)


def test_read_arrays_can_be_written_to():
    tensor = from_table(to_table(make_model())).networks[0]["weight"]
    tensor[0] = 0


def test_special_values_survive():
    model = make_model()
    model.networks[0]["weight"][0, 0, :4] = [np.nan, np.inf, -0.0, 1e-45]
    _assert_equal(from_table(to_table(model)), model.sealed())


def test_hash_and_version():
    first = make_model().sealed().card
    assert len(first.content_hash) == 64
    assert first.version == first.content_hash[:7]
    assert make_model().sealed().card == first
    assert make_model(seed=2).sealed().card.version != first.version
    other = make_model()
    other.networks[1]["weight"][0, 0, 0] += 1e-6
    assert other.sealed().card.version != first.version
    other = make_model()
    other.trained_cells[0] += 1
    assert other.sealed().card.version != first.version
    other = make_model()
    other.auxiliary["ood0.means"][1, 2] += 1e-6
    assert other.sealed().card.version != first.version
    renamed = {"ood1.means": other.auxiliary["ood0.means"], "rows": other.auxiliary["rows"]}
    assert dataclasses.replace(make_model(), auxiliary=renamed).sealed().card.version != first.version
    assert dataclasses.replace(make_model(), auxiliary={}).sealed().card.version != first.version


def test_a_model_without_further_arrays():
    model = dataclasses.replace(make_model(), auxiliary={}).sealed()
    _assert_equal(from_table(to_table(model)), model)
    assert from_table(to_table(model)).auxiliary == {}


def test_networks_are_numbered_fold_by_fold():
    model = make_model()
    for index, weights in enumerate(model.networks):
        weights["count"] = np.array(index)
    rows = [row for row in to_table(model).to_pylist() if row["name"] == "count"]
    assert [(row["network"], int.from_bytes(row["data"], "little")) for row in rows] == [
        (index, index) for index in range(4)
    ]


def test_nothing_in_it_is_a_pickle():
    for row in to_table(make_model()).to_pylist():
        with pytest.raises(ValueError, match=r"."):
            list(pickletools.genops(row["data"] or b"\xff"))


def test_changed_content_is_seen():
    table = to_table(make_model())
    data = bytearray(table.column("data")[_row(table, "weight", 0)].as_py())
    data[3] ^= 1
    of_means = table.column("data")[_row(table, "ood0.means", -1)].as_py()
    for changed in (
        _edit(table, data=bytes(data)),
        _edit(table, shape=[2, 3, 5]),
        _edit(table, name="bias"),
        _edit(table, "ood0.means", -1, data=of_means[4:] + of_means[:4]),
        _edit(table, "ood0.means", -1, name="ood1.means"),
        _edit_card(table, thresholds={"fpr_0.01": 0.1, "tpr_0.95": 0.6}),
        _edit_card(table, prior=[0.06, 0.02, 0.08]),
        _edit_card(table, prevalence=0.04),
        _edit_card(table, calibration={"knots": [-1.0, 1.0], "intercept": -3.5}),
        _edit_card(table, parent="0123"),
    ):
        with pytest.raises(ContentHashError, match="my model: expected content of hash"):
            from_table(changed, "my model")


def test_truncated_bytes_name_the_tensor():
    table = to_table(make_model())
    cut = _edit(table, data=table.column("data")[_row(table, "weight", 0)].as_py()[:-4])
    message = r"tensor weight of network 0: expected 120 bytes .* found 116 bytes"
    with pytest.raises(TensorError, match=message):
        from_table(cut)


@pytest.mark.parametrize("values", [{"dtype": "|O8"}, {"dtype": "<U4"}, {"shape": [-30, -1]}])
def test_impossible_tensors(values):
    table = to_table(make_model())
    for name, network in (("weight", 0), ("ood0.means", -1)):
        with pytest.raises(TensorError):
            from_table(_edit(table, name, network, **values))


@pytest.mark.parametrize("network", [4, -2])
def test_a_network_too_many(network):
    rows = to_table(make_model())
    changed = rows.to_pylist()
    changed[_row(rows, "weight", 3)]["network"] = network
    with pytest.raises(TensorError, match=f"networks 0 to 3, found network {network}"):
        from_table(pa.Table.from_pylist(changed, schema=rows.schema))


def test_missing_networks_and_cells():
    table = to_table(make_model())
    networks = np.array(table.column("network"))
    for network in (-1, 1, 3):
        with pytest.raises(TensorError, match="4 networks and trained_cells"):
            from_table(table.filter(networks != network))


def test_newer_format_is_refused_before_anything_else():
    table = _edit_card(to_table(make_model()), format_version=FORMAT_VERSION + 1, unheard_of=1)
    with pytest.raises(
        NewerFormatError, match=f"format {FORMAT_VERSION} or older, found format {FORMAT_VERSION + 1}"
    ):
        from_table(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace_schema_metadata(None), "a model card"),
        (lambda t: t.replace_schema_metadata({KEY: "{"}), "in JSON"),
        (lambda t: t.replace_schema_metadata({KEY: "[]"}), "in JSON"),
        (lambda t: _edit_card(t, unheard_of=1), "unheard_of"),
        (lambda t: _edit_card(t, n_folds="many"), "n_folds"),
        (lambda t: _edit_card(t, members=None), "members"),
        (lambda t: t.drop_columns(["shape"]), "column 'shape'"),
    ],
)
def test_a_bad_card_says_what_is_wrong(change, message):
    with pytest.raises(ModelCardError, match=message):
        from_table(change(to_table(make_model())))

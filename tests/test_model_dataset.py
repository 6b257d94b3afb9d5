"""Models as tables."""

import io
import json
import pickletools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dia_vetting.reliability.inputs import CHANNELS, LAYOUT
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
    rng = np.random.default_rng(0)
    card = ModelCard(
        architecture="seed_cnn",
        options={"dropout": 0.5, "width": 4},
        layout=LAYOUT,
        channels=CHANNELS,
        stamp_size=30,
        min_valid_fraction=0.2,
        instrument="Synthetic",
        seed=1,
        nside=4096,
        n_folds=2,
        settings={"epochs": 3},
        label_counts={"injected": 10},
        class_prior=0.1,
        epochs=(1, 2),
        selection_fpr=0.05,
        thresholds=(0.4, 0.6),
        metrics={"auc": (0.9, 0.8, 0.95)},
        software={"torch": "2"},
    ).model_copy(update=changes)
    networks = [
        {
            "weight": rng.normal(size=(3, 2, 5)).astype(np.float32),
            "empty": np.zeros((0, 4), np.float32),
            "count": np.array(7, dtype=np.int64),
        }
        for _ in range(2)
    ]
    return ReliabilityModel(card, networks, np.array([4, 9, 10**9]))


def _edit(table, row, **values):
    """Return the table with some cells of one row replaced."""
    rows = table.to_pylist()
    rows[row] |= values
    return pa.Table.from_pylist(rows, schema=table.schema)


def _edit_card(table, **values):
    card = json.loads(table.schema.metadata[KEY]) | values
    return table.replace_schema_metadata({KEY: json.dumps(card)})


def _assert_equal(first, second):
    assert first.card == second.card
    np.testing.assert_array_equal(first.trained_cells, second.trained_cells)
    for a, b in zip(first.networks, second.networks, strict=True):
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


def test_nothing_in_it_is_a_pickle():
    for row in to_table(make_model()).to_pylist():
        with pytest.raises(ValueError, match=r"."):
            list(pickletools.genops(row["data"] or b"\xff"))


def test_changed_content_is_seen():
    table = to_table(make_model())
    data = bytearray(table.column("data")[1].as_py())
    data[3] ^= 1
    for changed in (
        _edit(table, 1, data=bytes(data)),
        _edit(table, 1, shape=[2, 3, 5]),
        _edit(table, 1, name="bias"),
        _edit_card(table, thresholds=[0.1, 0.1]),
    ):
        with pytest.raises(ContentHashError, match="my model: expected content of hash"):
            from_table(changed, "my model")


def test_truncated_bytes_name_the_tensor():
    table = to_table(make_model())
    cut = _edit(table, 1, data=table.column("data")[1].as_py()[:-4])
    with pytest.raises(TensorError, match=r"tensor weight of fold 0: expected 120 bytes .* found 116 bytes"):
        from_table(cut)


@pytest.mark.parametrize("values", [{"dtype": "|O8"}, {"dtype": "<U4"}, {"shape": [-30, -1]}, {"fold": 7}])
def test_impossible_tensors(values):
    with pytest.raises(TensorError):
        from_table(_edit(to_table(make_model()), 1, **values))


def test_missing_networks_and_cells():
    table = to_table(make_model())
    folds = np.array(table.column("fold"))
    for fold in (-1, 1):
        with pytest.raises(TensorError, match="2 networks and trained_cells"):
            from_table(table.filter(folds != fold))


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
        (lambda t: t.drop_columns(["shape"]), "column 'shape'"),
    ],
)
def test_a_bad_card_says_what_is_wrong(change, message):
    with pytest.raises(ModelCardError, match=message):
        from_table(change(to_table(make_model())))

"""The dataset blend_model, its files, and methods made of it."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blend_samples import make_stamps, small_model
from dia_vetting.blends import shipped
from dia_vetting.blends.methods import METHODS, get_method
from dia_vetting.blends.methods.names import UnknownMethodError
from dia_vetting.blends.model_io import BlendModel, from_table, load_networks, to_table
from dia_vetting.blends.shipped import open_model, shipped_models
from dia_vetting.errors import BadInputError
from dia_vetting.model_table import ContentHashError, ModelCardError, NewerFormatError, TensorError
from dia_vetting.reliability.model_dataset import to_table as reliability_table
from dia_vetting.reliability.shipped import UnknownModelError, shipped_model
from lsst.daf.butler import Butler, DatasetType

KEY = b"dia_vetting:model_card"


def edited(table: pa.Table, **values: object) -> pa.Table:
    card = json.loads(table.schema.metadata[KEY]) | values
    return table.replace_schema_metadata({KEY: json.dumps(card)})


@pytest.mark.parametrize("method", ["ours", "vgg16", "one_class", "siamese"])
def test_round_trip_through_parquet_gives_the_same_answers(method: str) -> None:
    model = small_model(method)
    file = io.BytesIO()
    pq.write_table(to_table(model), file)
    again = from_table(pq.read_table(file))
    assert again.card == model.card
    stamps, _ = make_stamps(12, seed=4)
    first, second = (get_method(method, one).predict(stamps) for one in (model, again))
    np.testing.assert_array_equal(first.p_blend, second.p_blend)
    assert np.isfinite(first.p_blend).all()


def test_round_trip_through_a_butler(tmp_path: Path) -> None:
    model = small_model()
    Butler.makeRepo(tmp_path)
    with Butler.from_config(tmp_path, run="models") as butler:
        kind = DatasetType("blend_model", (), "ArrowTable", universe=butler.dimensions)
        butler.registry.registerDatasetType(kind)
        butler.put(to_table(model), kind)
        assert from_table(butler.get(kind)).card == model.card


def test_what_was_changed_is_refused() -> None:
    table = to_table(small_model())
    with pytest.raises(ContentHashError):
        from_table(edited(table, seed=5))
    rows = table.to_pylist()
    rows[3]["data"] = rows[3]["data"][:-4] + b"\0\0\0\1"
    with pytest.raises(ContentHashError):
        from_table(pa.Table.from_pylist(rows, schema=table.schema))
    rows[3]["data"] = b"123"
    with pytest.raises(TensorError, match="found 3 bytes"):
        from_table(pa.Table.from_pylist(rows, schema=table.schema))
    with pytest.raises(TensorError, match="without all of them"):
        from_table(edited(table, epochs=[1, 1]))
    with pytest.raises(NewerFormatError, match="format 1 or older, found format 9"):
        from_table(edited(table, format_version=9))
    with pytest.raises(ModelCardError, match="complete card of a blend model"):
        from_table(edited(table, colour="red"))
    with pytest.raises(ModelCardError, match="complete card of a blend model"):
        from_table(edited(reliability_table(shipped_model()), format_version=1))


def test_a_model_of_another_layout_or_with_other_tensors_is_refused() -> None:
    model = small_model()
    other = BlendModel(model.card.model_copy(update={"layout": "sigma-2"}), model.networks)
    with pytest.raises(ModelCardError, match="'sigma-1', found 'sigma-2'"):
        load_networks(other)
    weights = {name: tensor for name, tensor in model.networks[0].items() if name != "kinds.bias"}
    with pytest.raises(TensorError, match=r"network 0: .* missing \['kinds.bias'\]"):
        load_networks(BlendModel(model.card, [weights]))


def test_methods_by_name() -> None:
    assert list(METHODS) == ["ours", "vgg16", "one_class", "siamese", "sextractor", "sextractor_tuned"]
    with pytest.raises(UnknownMethodError, match=r"one of ours, .* found 'scarlet'"):
        get_method("scarlet")
    with pytest.raises(BadInputError, match="a model of this method, found none"):
        get_method("ours")
    with pytest.raises(BadInputError, match="found one of 'siamese'"):
        get_method("ours", small_model("siamese"))


def test_models_in_files_and_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    file = tmp_path / "small-1.parquet"
    pq.write_table(to_table(model), file)
    assert open_model(file).card == model.card
    (tmp_path / "text.parquet").write_text("no model")
    with pytest.raises(BadInputError, match="a Parquet file with a blend model"):
        open_model(tmp_path / "text.parquet")
    with pytest.raises(BadInputError, match=r"absent\.parquet"):
        open_model(tmp_path / "absent.parquet")
    monkeypatch.setattr(shipped, "models_folder", lambda: tmp_path)
    file.rename(tmp_path / "small-2.parquet")
    (tmp_path / "text.parquet").unlink()
    assert shipped_models() == ["small-2"]
    assert open_model("small-2").card == model.card
    with pytest.raises(UnknownModelError, match="one of small-2, found 'small-3'"):
        open_model("small-3")


def test_no_model_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "models_folder", lambda: tmp_path)
    with pytest.raises(UnknownModelError, match=r"a file with a model \(no model is shipped\), found ''"):
        open_model("")

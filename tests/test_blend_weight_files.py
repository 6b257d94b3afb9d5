"""Weights of others in .npz and .safetensors."""

import json
from pathlib import Path

import numpy as np
import pytest
from dia_vetting.blends.weight_files import read_weights
from dia_vetting.errors import BadInputError

ARRAYS = {
    "features.0.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "features.0.bias": np.array([1.5, -2.0], np.float16),
}


def write_safetensors(path: Path, arrays: dict[str, np.ndarray], **changes: object) -> None:
    header, body = {"__metadata__": {"format": "pt"}}, b""
    names = {"float32": "F32", "float16": "F16", "int64": "I64"}
    for name, array in arrays.items():
        entry = {"dtype": names[array.dtype.name], "shape": list(array.shape)}
        header[name] = entry | {"data_offsets": [len(body), len(body) + array.nbytes]} | changes
        body += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_arrays_come_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"vgg16{suffix}"
    if suffix == ".npz":
        np.savez(path, **ARRAYS)
    else:
        write_safetensors(path, ARRAYS)
    name, weights = read_weights(path)
    assert name.startswith(f"vgg16{suffix} ")
    assert len(name.split()[1]) == 12
    assert set(weights) == set(ARRAYS)
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(weights[key], array)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", weights=np.array([{"a": 1}], object))
    with pytest.raises(BadInputError, match=r"objects\.npz: expected weights"):
        read_weights(tmp_path / "objects.npz")
    (tmp_path / "vgg16.pth").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(BadInputError, match=r"suffix '\.pth'"):
        read_weights(tmp_path / "vgg16.pth")


@pytest.mark.parametrize("changes", [{"data_offsets": [0, 9999]}, {"shape": [7, 7]}, {"data_offsets": [8]}])
def test_tensors_beyond_their_bytes_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    write_safetensors(tmp_path / "bad.safetensors", ARRAYS, **changes)
    with pytest.raises(BadInputError, match=r"bad\.safetensors"):
        read_weights(tmp_path / "bad.safetensors")


def test_other_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    for data in (
        b"",
        b"\xff" * 20,
        (5).to_bytes(8, "little") + b"[1,2]",
        (4).to_bytes(8, "little") + b"{{{{",
    ):
        path.write_bytes(data)
        with pytest.raises(BadInputError, match=r"bad\.safetensors"):
            read_weights(path)
    write_safetensors(path, {"steps": np.arange(3)})
    with pytest.raises(BadInputError, match="'I64'"):
        read_weights(path)
    with pytest.raises(BadInputError, match=r"absent\.npz"):
        read_weights(tmp_path / "absent.npz")

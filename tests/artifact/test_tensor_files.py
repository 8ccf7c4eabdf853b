from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from codling.artifact.tensor_files import DTYPES, StoredTensors, TensorSpec, read_tensors, stream_tensors, write_tensors
from codling.errors import UserError

RANDOM = np.random.default_rng(0)
TENSORS: dict[str, np.ndarray] = {
    "b": RANDOM.normal(size=(3, 5)).astype(np.float32),
    "a": RANDOM.normal(size=(4,)).astype(np.float16),
    "größe": RANDOM.normal(size=(2, 3, 2)).astype(ml_dtypes.bfloat16),
    "scalar": np.asarray(1.5, np.float32),
    "nothing": np.zeros((0, 3), np.float32),
    "indices": np.arange(7, dtype=np.uint8),
    "entries": np.arange(-3, 3, dtype=np.int8),
}


def test_what_is_written_is_read_by_us_and_by_the_library(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_tensors(path, TENSORS, {"made": "here"})
    ours, metadata = read_tensors(path)
    assert metadata == {"format": "pt", "made": "here"}
    theirs = load_file(path)
    assert ours.keys() == theirs.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        for read in (ours[name], theirs[name]):
            assert (read.dtype, read.shape) == (tensor.dtype, tensor.shape)
            assert read.tobytes() == tensor.tobytes()


def test_the_tensors_lie_where_the_library_puts_them(tmp_path: Path) -> None:
    write_tensors(tmp_path / "ours", TENSORS, {})
    save_file(TENSORS, tmp_path / "theirs", metadata={"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_the_same_tensors_give_the_same_bytes_in_whatever_order(tmp_path: Path) -> None:
    metadata = {letter: f'{{"größe": "{letter}\n"}}' for letter in "abcdef"}
    write_tensors(tmp_path / "a", TENSORS, metadata)
    write_tensors(tmp_path / "b", dict(reversed(TENSORS.items())), dict(reversed(metadata.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_matrix_that_is_not_contiguous_is_written_as_it_reads(tmp_path: Path) -> None:
    write_tensors(tmp_path / "file", {"t": TENSORS["b"].T}, {})
    np.testing.assert_array_equal(read_tensors(tmp_path / "file")[0]["t"], TENSORS["b"].T)


def test_tensors_stream_from_file_to_file_and_are_looked_up_once(tmp_path: Path) -> None:
    write_tensors(tmp_path / "one", {"b": TENSORS["b"]}, {"x": "1"})
    write_tensors(tmp_path / "two", {"a": TENSORS["a"]}, {"y": "2"})
    stored = StoredTensors([tmp_path / "one", tmp_path / "two"])
    assert stored.specs == {"b": TensorSpec("F32", (3, 5)), "a": TensorSpec("F16", (4,))}
    assert (stored.specs["b"].size, stored.specs["a"].size_bytes) == (15, 8)
    assert stored.metadata == {"format": "pt", "x": "1", "y": "2"}
    read = []

    def read_once(name: str) -> np.ndarray:
        read.append(name)
        return stored[name]

    stream_tensors(tmp_path / "both", stored.specs, read_once, {})
    write_tensors(tmp_path / "at once", {name: TENSORS[name] for name in "ab"}, {})
    assert read == ["b", "a"]
    assert (tmp_path / "both").read_bytes() == (tmp_path / "at once").read_bytes()


def test_every_type_has_the_width_that_its_name_says() -> None:
    assert [dtype.itemsize * 8 for dtype in DTYPES.values()] == [int(name.strip("BFIU")) for name in DTYPES]


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "model.safetensors"
    write_tensors(path, TENSORS, {})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"model.safetensors: not readable as safetensors, perhaps truncated"):
        StoredTensors([path])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model.safetensors: no such file"):
        read_tensors(tmp_path / "model.safetensors")


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_tensors(tmp_path / name, {"b": TENSORS["b"]}, {})
    with pytest.raises(UserError, match="two: tensor 'b' is in another of the files too"):
        StoredTensors([tmp_path / "one", tmp_path / "two"])

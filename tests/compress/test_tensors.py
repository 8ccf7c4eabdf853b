import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from codling.compress.embedding_quant import quantize_embedding
from codling.compress.palettize import PalettizedMatrix, palettize
from codling.compress.tensors import Compressed, compressed_names, from_tensors, part_names, to_metadata, to_tensors
from codling.errors import UserError

Stored = tuple[dict[str, np.ndarray], dict[str, str]]

SPECIFICATION = Path(__file__).parents[2] / "native" / "FORMAT.md"


@pytest.fixture
def compressed() -> dict[str, Compressed]:
    rng = np.random.default_rng(0)
    return {
        "up": palettize(rng.normal(size=(40, 25)).astype(np.float32)),
        "down": palettize(rng.normal(size=(25, 40)).astype(np.float32), bits=2),
        "gate": palettize(rng.normal(size=(40, 25)).astype(np.float32))._replace(
            row_scales=rng.uniform(0.5, 2, 40).astype(np.float16)
        ),
        "embedding": quantize_embedding(rng.normal(size=(9, 4)).astype(np.float32)),
    }


@pytest.fixture
def stored(compressed: dict[str, Compressed]) -> Stored:
    """Tensors and metadata of a file with all kinds in it."""
    tensors = {"norm": np.ones(4, dtype=np.float32)}
    for name, matrix in compressed.items():
        tensors |= to_tensors(name, matrix)
    return tensors, to_metadata(compressed)


def test_a_file_gives_the_same_matrices_back(tmp_path: Path, compressed: dict[str, Compressed], stored: Stored) -> None:
    tensors, metadata = stored
    save_file(tensors, tmp_path / "model.safetensors", metadata=metadata)
    with safe_open(tmp_path / "model.safetensors", framework="numpy") as file:
        read_tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        read_metadata = file.metadata()
    assert compressed_names(read_metadata) == sorted(compressed)
    for name, matrix in compressed.items():
        again = from_tensors(name, read_tensors, read_metadata)
        assert type(again) is type(matrix)
        np.testing.assert_array_equal(again.dequantize(), matrix.dequantize())


def test_a_file_without_the_version_holds_nothing_compressed() -> None:
    assert compressed_names({}) == []
    assert part_names({}) == set()


def test_the_parts_are_all_tensors_that_are_not_dense(stored: Stored) -> None:
    tensors, metadata = stored
    assert part_names(metadata) == tensors.keys() - {"norm"}


def test_the_worked_example_of_the_specification() -> None:
    blocks = dict(re.findall(r"```(?:hex|json) (\w+)\n(.*?)```", SPECIFICATION.read_text(), re.DOTALL))

    def read(part: str, dtype: str) -> np.ndarray:
        return np.frombuffer(bytes.fromhex(blocks[part]), dtype=dtype)

    tensors = {
        "w.palette_indices": read("palette_indices", "u1")[None],
        "w.palette_tables": read("palette_tables", "i1")[None],
        "w.palette_scales": read("palette_scales", "<f4"),
        "w.palette_row_scales": read("palette_row_scales", "<f2"),
    }
    matrix = from_tensors("w", tensors, json.loads(blocks["metadata"]))
    rows, columns = np.indices((3, 10))
    expected = ((5 * rows + 3 * columns) % 16 * 8 - 64) * 0.25 * np.asarray([[1], [0.5], [1.5]])
    np.testing.assert_array_equal(matrix.dequantize(), expected)
    again = to_tensors("w", matrix)
    assert {name: part.tobytes() for name, part in again.items()} == {
        name: part.tobytes() for name, part in tensors.items()
    }
    assert to_metadata({"w": matrix}) == json.loads(blocks["metadata"])


PARTS = [
    "up.palette_indices",
    "up.palette_tables",
    "up.palette_scales",
    "gate.palette_row_scales",
    "embedding.int8_values",
    "embedding.int8_scales",
]


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named(stored: Stored, part: str) -> None:
    tensors, metadata = stored
    del tensors[part]
    with pytest.raises(UserError, match=rf"^{part}: the file lacks this tensor"):
        from_tensors(part.split(".")[0], tensors, metadata)


@pytest.mark.parametrize("part", PARTS)
def test_a_truncated_part_is_named(stored: Stored, part: str) -> None:
    tensors, metadata = stored
    tensors[part] = tensors[part][:-1]
    with pytest.raises(UserError, match=rf"^{part}: expected .*, found "):
        from_tensors(part.split(".")[0], tensors, metadata)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_another_type_is_named(stored: Stored, part: str) -> None:
    tensors, metadata = stored
    tensors[part] = tensors[part].astype(np.float64)
    with pytest.raises(UserError, match=rf"^{part}: expected .*, found float64"):
        from_tensors(part.split(".")[0], tensors, metadata)


@pytest.mark.parametrize("part", ["up.palette_scales", "gate.palette_row_scales", "embedding.int8_scales"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_a_scale_that_scales_nothing_is_named(stored: Stored, part: str, bad: float) -> None:
    tensors, metadata = stored
    tensors[part] = tensors[part].copy()
    tensors[part][1] = bad
    with pytest.raises(UserError, match=rf"^{part}: 1 of "):
        from_tensors(part.split(".")[0], tensors, metadata)


def test_a_name_that_is_not_listed(stored: Stored) -> None:
    with pytest.raises(UserError, match=r"^value: the file's metadata lists no compressed matrix"):
        from_tensors("value", *stored)


def test_another_version_is_refused(stored: Stored) -> None:
    tensors, metadata = stored
    with pytest.raises(UserError, match=r"^codling\.format_version is '3' .* this codling reads '1' and '2'"):
        from_tensors("up", tensors, metadata | {"codling.format_version": "3"})
    del metadata["codling.format_version"]
    with pytest.raises(UserError, match=r"^codling\.format_version is None"):
        from_tensors("up", tensors, metadata)


def test_the_first_version_knows_no_scales_of_rows(compressed: dict[str, Compressed], stored: Stored) -> None:
    tensors, metadata = stored
    entries = json.loads(metadata["codling.palettized"])
    for entry in entries.values():
        del entry["row_scales"]
    metadata |= {"codling.format_version": "1", "codling.palettized": json.dumps(entries)}
    assert part_names(metadata) == tensors.keys() - {"norm", "gate.palette_row_scales"}
    np.testing.assert_array_equal(from_tensors("up", tensors, metadata).dequantize(), compressed["up"].dequantize())
    gate = compressed["gate"]
    assert isinstance(gate, PalettizedMatrix)
    without = gate._replace(row_scales=None)
    np.testing.assert_array_equal(from_tensors("gate", tensors, metadata).dequantize(), without.dequantize())


@pytest.mark.parametrize("row_scales", [None, 1, "true"])
def test_an_entry_that_does_not_say_whether_rows_have_scales(stored: Stored, row_scales: object) -> None:
    tensors, metadata = stored
    entry = {"shape": [40, 25], "bits": 4, "rows_per_table": 16, "row_scales": row_scales}
    metadata["codling.palettized"] = json.dumps({"up": entry})
    with pytest.raises(UserError, match=rf"^up: row_scales is {row_scales!r} in the metadata, not true or false"):
        from_tensors("up", tensors, metadata)
    with pytest.raises(UserError, match=r"^up: row_scales is"):
        part_names(metadata)


@pytest.mark.parametrize("listed", ["{", "[]"])
def test_metadata_that_is_not_a_json_object(stored: Stored, listed: str) -> None:
    tensors, metadata = stored
    metadata["codling.palettized"] = listed
    with pytest.raises(UserError, match=r"^codling\.palettized: the metadata is not"):
        from_tensors("up", tensors, metadata)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"shape": [40, 25], "bits": 3, "rows_per_table": 16}, "bits is 3"),
        ({"shape": [40, 25], "bits": 4, "rows_per_table": 5}, "rows_per_table is 5"),
        ({"shape": [40], "bits": 4, "rows_per_table": 16}, r"shape is \[40\]"),
        ({"shape": [40, 0], "bits": 4, "rows_per_table": 16}, r"shape is \[40, 0\]"),
        ([], "shape is None"),
    ],
)
def test_an_entry_that_describes_no_matrix(stored: Stored, entry: object, message: str) -> None:
    tensors, metadata = stored
    metadata["codling.palettized"] = json.dumps({"up": entry})
    with pytest.raises(UserError, match=rf"^up: {message}"):
        from_tensors("up", tensors, metadata)

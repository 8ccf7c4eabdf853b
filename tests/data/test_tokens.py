from pathlib import Path

import numpy as np
import pytest

from codling.data.tokens import join_documents, load_tokens, save_tokens, select_documents, tokenize_documents
from codling.errors import UserError

TEXTS = ["One fish.", "", "Two fish, naïve fish."]


def encode_bytes(text: str) -> list[int]:
    return list(text.encode())


def test_documents_come_back_from_their_offsets() -> None:
    documents = tokenize_documents(TEXTS, encode_bytes)
    pieces = [documents.tokens[a:b] for a, b in zip(documents.offsets[:-1], documents.offsets[1:], strict=True)]
    assert [bytes(piece.tolist()).decode() for piece in pieces] == TEXTS
    assert documents.num_documents == len(TEXTS)
    assert (documents.tokens.dtype.name, documents.offsets.dtype.name) == ("int32", "int64")


@pytest.mark.parametrize("masked", [False, True])
def test_saved_documents_load_the_same_and_have_the_same_bytes(tmp_path: Path, masked: bool) -> None:
    masks = [[True, False], [], [False, True, True]] if masked else None
    documents = join_documents([[1, 2], [], [3, 4, 5]], masks)
    for folder in ("a", "b"):
        save_tokens(tmp_path / folder, documents)
    loaded = load_tokens(tmp_path / "a")
    for name, array in documents._asdict().items():
        np.testing.assert_array_equal(getattr(loaded, name), array)
        if array is not None:
            file = f"{name}.npy"
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert isinstance(loaded.tokens, np.memmap)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("indices", [[0, 1, 2, 3], [3, 0], [1], []])
def test_selected_documents_are_those_in_that_order(indices: list[int], masked: bool) -> None:
    parts, masks = [[1, 2], [], [3, 4, 5], [6]], [[True, False], [], [False, True, True], [True]]
    chosen = select_documents(join_documents(parts, masks if masked else None), np.asarray(indices, np.int64))
    expected_masks = [masks[index] for index in indices] if masked else None
    expected = join_documents([parts[index] for index in indices], expected_masks)
    for name, array in expected._asdict().items():
        found = getattr(chosen, name)
        np.testing.assert_array_equal(found, array)
        assert getattr(found, "dtype", None) == getattr(array, "dtype", None)


def test_no_documents_are_a_value_too(tmp_path: Path) -> None:
    save_tokens(tmp_path, tokenize_documents([], encode_bytes))
    assert load_tokens(tmp_path).num_documents == 0


def test_masks_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        join_documents([[1, 2]], [[True]])


def test_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokens.npy: no such file"):
        load_tokens(tmp_path)
    save_tokens(tmp_path, tokenize_documents(TEXTS, encode_bytes))
    whole = (tmp_path / "tokens.npy").read_bytes()
    for damaged in (whole[:-8], whole[:40], b""):
        (tmp_path / "tokens.npy").write_bytes(damaged)
        with pytest.raises(UserError, match=r"tokens.npy: cannot be read"):
            load_tokens(tmp_path)
    np.save(tmp_path / "tokens.npy", np.zeros(3, np.float32))
    with pytest.raises(UserError, match=r"tokens.npy: holds float32 of 1 dimensions, not a row of int32"):
        load_tokens(tmp_path)
    np.save(tmp_path / "tokens.npy", np.zeros(3, np.int32))
    with pytest.raises(UserError, match="do not belong together"):
        load_tokens(tmp_path)

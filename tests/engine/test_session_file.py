"""Sessions on disk."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.artifact.tensor_files import read_tensors, write_tensors
from codling.engine.engine import Engine
from codling.engine.sampling import Sampling
from codling.errors import UserError

PROMPT = list(range(30, 110))


@pytest.fixture
def device(pair: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pair.device, tmp_path / "device"))


def saved(engine: Engine, path: Path, **how: Any) -> list[int]:
    """What the session knew."""
    one = engine.session(**how)
    reply = one.generate(PROMPT, max_new_tokens=6)
    list(reply)
    one.save(path)
    return [*PROMPT, *reply.ids]


@pytest.mark.parametrize("adapter", ["recovery", "none", "copy"])
@pytest.mark.parametrize("kv_type", ["int8", "bf16", "f32"])
def test_a_loaded_session_goes_on_as_if_it_had_never_ended(
    device: Path, tmp_path: Path, adapter: str, kv_type: str
) -> None:
    if adapter == "copy":
        adapter = str(shutil.copytree(device / "adapters" / "recovery", tmp_path / "copy"))
    path, sampling = tmp_path / "session", Sampling(1.0, seed=4)
    engine = Engine.open(device, num_threads=1, kv_type=kv_type)
    ids = saved(engine, path, adapter=adapter)
    expected = list(engine.session(adapter=adapter, sampling=sampling).run([*ids, 33], 8, ()))
    moved = device.rename(tmp_path / "moved")
    one = Engine.open(moved, num_threads=1, kv_type=kv_type).load_session(path, sampling=sampling)
    assert one.context.used_tokens == len(ids) - 1
    reply = one.generate([*ids, 33], max_new_tokens=8)
    assert [token.id for token in reply] == expected
    assert reply.usage.cached_tokens == len(ids) - 1
    assert reply.identity == one.identity


def test_saving_replaces_a_file_and_an_empty_session_is_one(device: Path, tmp_path: Path) -> None:
    engine, path = Engine.open(device, num_threads=1), tmp_path / "session"
    saved(engine, path)
    engine.session().save(path)
    assert list(tmp_path.iterdir()) in ([path, device], [device, path])
    assert len(list(engine.load_session(path).run(PROMPT, 5, ()))) == 5


def test_a_session_that_answers_is_not_saved(device: Path, tmp_path: Path) -> None:
    one = Engine.open(device, num_threads=1).session()
    reply = one.generate(PROMPT)
    reading = iter(reply)
    next(reading)
    with pytest.raises(UserError, match="still answering"):
        one.save(tmp_path / "session")
    reply.cancel()
    one.save(tmp_path / "session")


def test_what_was_saved_with_something_else_is_refused(pair: Any, device: Path, tmp_path: Path) -> None:
    path = tmp_path / "session"
    saved(Engine.open(device, num_threads=1), path)
    others: tuple[tuple[Path, dict[str, Any], str], ...] = (
        (pair.server, {}, "another base"),
        (device, {"kv_type": "f32"}, "another type of keys and values"),
        (device, {"rounds_activations": False}, "another kind of activations"),
    )
    for directory, how, problem in others:
        with pytest.raises(UserError, match=problem):
            Engine.open(directory, **how).load_session(path)
    weights = device / "adapters" / "recovery" / "adapter_model.safetensors"
    tensors, metadata = read_tensors(weights)
    write_tensors(weights, {name: tensor * 2 for name, tensor in tensors.items()}, metadata)
    with pytest.raises(UserError, match="another adapter"):
        Engine.open(device).load_session(path)


def test_another_tokenizer_is_refused(device: Path, tmp_path: Path) -> None:
    path = tmp_path / "session"
    engine = Engine.open(device, num_threads=1)
    saved(engine, path)
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, metadata | {"codling_origin_tokenizer": "0" * 64})
    with pytest.raises(UserError, match="another tokenizer"):
        engine.load_session(path)


def test_what_is_no_session_is_refused(device: Path, tmp_path: Path) -> None:
    engine, path = Engine.open(device, num_threads=1), tmp_path / "session"
    saved(engine, path)
    tensors, metadata = read_tensors(path)
    ids = tensors["ids"]
    far = np.frombuffer(np.int32(1 << 20).tobytes(), np.uint8).reshape(1, 4)
    for changed, kept, problem in (
        (tensors, {"codling_session": "2"}, "another version"),
        (tensors | {"ids": ids[:, :3]}, metadata, "damaged"),
        (tensors | {"ids": ids.astype(np.float32)}, metadata, "damaged"),
        (tensors | {"more": ids}, metadata, "damaged"),
        ({"ids": ids}, metadata, "damaged"),
        (tensors | {"pages": tensors["pages"][:-1]}, metadata, "bytes"),
        (tensors | {"ids": np.concatenate([ids, ids])}, metadata, "context"),
        (tensors | {"ids": np.concatenate([ids[:-1], far])}, metadata, "vocabulary"),
    ):
        write_tensors(path, changed, kept)
        with pytest.raises(UserError, match=f"session: .*{problem}"):
            engine.load_session(path)
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not readable"):
        engine.load_session(path)
    with pytest.raises(UserError, match="no such file"):
        engine.load_session(tmp_path / "other")
    with pytest.raises(UserError, match="cannot be written"):
        engine.session().save(tmp_path / "no" / "session")

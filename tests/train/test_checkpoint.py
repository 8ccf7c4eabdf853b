import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from orbax.checkpoint.utils import to_shape_dtype_struct

from codling.errors import UserError
from codling.model.partition import DATA
from codling.model.transformer import Transformer
from codling.train.checkpoint import Checkpoints, Keep
from codling.train.sharding import data_mesh, replicate
from codling.train.state import TrainState, init_state

# What Orbax had begun to read beside a file that turns out damaged is never awaited, and complains.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

EVERY_STEP = Keep(1)
OPTIMIZER = optax.adamw(0.1)
SMALL = {"weight": jnp.arange(6.0).reshape(2, 3), "count": jnp.zeros((), jnp.int32)}


def make_state(model: Transformer, value: float) -> TrainState[Any]:
    """A state on both devices, in which every array is another one."""
    leaves, structure = jax.tree.flatten(init_state(model, OPTIMIZER))
    changed = [leaf + jnp.asarray(number * value, leaf.dtype) for number, leaf in enumerate(leaves)]
    state: TrainState[Any] = replicate(jax.tree.unflatten(structure, changed), data_mesh(2))
    return state


@pytest.fixture(scope="module")
def state(tiny_model: Transformer) -> TrainState[Any]:
    return make_state(tiny_model, 1.0)


def open_checkpoints(
    directory: Path, keep: Keep = EVERY_STEP, *, owner: str = "core-1", warnings: list[str] | None = None
) -> Checkpoints:
    return Checkpoints(directory / "c", keep, owner=owner, warn=([] if warnings is None else warnings).append)


def small(step: int) -> Any:
    return jax.tree.map(lambda x: x + jnp.asarray(step, x.dtype), SMALL)


def save_small(directory: Path, *steps: int, keep: Keep = EVERY_STEP) -> None:
    with open_checkpoints(directory, keep) as checkpoints:
        for step in steps:
            checkpoints.save(step, small(step), {"next_index": step})


def kept_steps(directory: Path) -> list[int]:
    return sorted(int(path.name) for path in (directory / "c").iterdir() if path.name.isdigit())


def test_what_is_saved_is_restored_bit_for_bit_where_it_was(
    tmp_path: Path, state: TrainState[Any], tiny_model: Transformer
) -> None:
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(7, state, {"next_index": 2**40, "names": ["a"], "loss": 1 / 3})
    with open_checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(make_state(tiny_model, 0.0))
    assert restored is not None
    assert (restored.step, restored.position) == (7, {"next_index": 2**40, "names": ["a"], "loss": 1 / 3})
    assert eqx.tree_equal(restored.state, state)
    for leaf, expected in zip(*map(jax.tree.leaves, (restored.state, state)), strict=True):
        assert leaf.sharding == expected.sharding


@pytest.mark.parametrize("spec", [PartitionSpec(DATA), PartitionSpec(None, DATA)], ids=["rows", "columns"])  # type: ignore[no-untyped-call]
def test_split_arrays_are_restored_as_another_mesh_has_them(tmp_path: Path, spec: PartitionSpec) -> None:
    split = NamedSharding(data_mesh(2), spec)
    whole = {"weight": jnp.arange(12.0).reshape(2, 6), "half": jnp.arange(4, dtype=jnp.bfloat16).reshape(2, 2)}
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, jax.device_put(whole, split), {})
    other = NamedSharding(Mesh(np.array(jax.devices()[1:]), (DATA,)), PartitionSpec())  # type: ignore[no-untyped-call]
    like = jax.tree.map(to_shape_dtype_struct, jax.device_put(whole, other))
    with open_checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(like)
    assert restored is not None
    for name, expected in whole.items():
        assert restored.state[name].sharding.device_set == {jax.devices()[1]}
        np.testing.assert_array_equal(np.asarray(restored.state[name]), np.asarray(expected))


ON_EIGHT_DEVICES = """
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from orbax.checkpoint.utils import to_shape_dtype_struct

from codling.train.checkpoint import Checkpoints, Keep


def placed(shape, names, spec):
    devices = np.array(jax.devices()[: np.prod(shape)]).reshape(shape)
    return jax.device_put(WHOLE, NamedSharding(Mesh(devices, names), PartitionSpec(*spec)))


def open_checkpoints():
    return Checkpoints(Path(sys.argv[1]), Keep(1), owner="core", warn=sys.exit)


WHOLE = {"weight": jnp.arange(16.0 * 24).reshape(16, 24), "half": jnp.ones((8, 4), jnp.bfloat16)}
assert len(jax.devices()) == 8
with open_checkpoints() as checkpoints:
    checkpoints.save(1, placed((8,), ("data",), ("data",)), {})
for mesh in [((4, 2), ("data", "model"), ("data", "model")), ((2, 4), ("a", "b"), (None, "b")), ((3,), ("a",), ())]:
    like = placed(*mesh)
    with open_checkpoints() as checkpoints:
        restored = checkpoints.restore(jax.tree.map(to_shape_dtype_struct, like)).state
    for name, array in like.items():
        assert restored[name].sharding == array.sharding
        np.testing.assert_array_equal(restored[name], WHOLE[name])
"""


@pytest.mark.slow
def test_eight_devices_become_others(tmp_path: Path) -> None:
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", ON_EIGHT_DEVICES, str(tmp_path / "c")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_being_written_does_not_see_the_steps_after_it(tmp_path: Path) -> None:
    """Each step gives up its buffers to the next, while they are still being written."""
    step_fn = jax.jit(lambda tree: jax.tree.map(lambda x: x + jnp.ones((), x.dtype), tree), donate_argnums=0)
    state = replicate({str(number): jnp.zeros((512, 1024)) for number in range(8)}, data_mesh(2))
    with open_checkpoints(tmp_path, Keep(1, last=3)) as checkpoints:
        for step in range(1, 31):
            state = step_fn(state)
            if step % 10 == 0:
                checkpoints.save(step, state, {})
    for step in (30, 20, 10):
        with open_checkpoints(tmp_path) as checkpoints:
            restored = checkpoints.go_back(step, state)
        assert restored is not None
        assert all((np.asarray(array) == step).all() for array in restored.state.values())


def test_without_a_checkpoint_there_is_nothing_to_restore(tmp_path: Path, state: TrainState[Any]) -> None:
    warnings: list[str] = []
    with open_checkpoints(tmp_path, warnings=warnings) as checkpoints:
        assert checkpoints.restore(state) is None
    assert warnings == []


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (Keep(2, last=1), [8]),
        (Keep(2, last=2), [6, 8]),
        (Keep(2, last=2, every_steps=4), [4, 6, 8]),
        (Keep(3, last=1), [6, 8]),  # the last one off schedule is the newest, and does not push out a scheduled one
    ],
)
def test_the_newest_and_the_milestones_are_kept(tmp_path: Path, keep: Keep, expected: list[int]) -> None:
    save_small(tmp_path, 2, 3, 4, 6, 8, keep=keep)
    assert kept_steps(tmp_path) == expected


def flip(position: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(position * (len(content) - 1))] ^= 0x10
        path.write_bytes(content)

    return damage


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    **{f"flipped at {position}": flip(position) for position in (0.0, 0.3, 0.6, 1.0)},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_found_wherever_it_matters(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    """Any file of the newest checkpoint: either it makes no difference, or the checkpoint before is taken."""
    save_small(tmp_path, 3, 6)
    sizes = {path.relative_to(tmp_path): path.stat().st_size for path in (tmp_path / "c" / "6").rglob("*")}
    passed_over = set()
    for number, name in enumerate(name for name in sizes if (tmp_path / name).is_file() and sizes[name]):
        copy = tmp_path / str(number)
        shutil.copytree(tmp_path / "c", copy / "c")
        damage(copy / name)
        warnings: list[str] = []
        with open_checkpoints(copy, warnings=warnings) as checkpoints:
            restored = checkpoints.restore(SMALL)
        assert restored is not None
        assert eqx.tree_equal(restored.state, small(restored.step))
        assert restored.position == {"next_index": restored.step}
        if restored.step == 3:
            passed_over.add(name.relative_to("c/6").parts[0])
            [warning] = warnings
            assert "checkpoint 6 is damaged (" in warning
            assert warning.endswith("kept as damaged-6; going on from checkpoint 3")
            assert "\n" not in warning
            assert (copy / "c" / "damaged-6").is_dir()
    assert passed_over >= {"state", "record"}


def test_a_wrong_value_in_a_whole_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk gives back is compared with what was on the devices, not with what was written."""
    save_small(tmp_path, 1)
    with monkeypatch.context() as patch, open_checkpoints(tmp_path) as checkpoints:
        patch.setattr("codling.train.checkpoint.checksums", lambda arrays: [7 for _ in arrays])
        checkpoints.save(2, small(2), {"next_index": 2})
    warnings: list[str] = []
    with open_checkpoints(tmp_path, warnings=warnings) as checkpoints:
        restored = checkpoints.restore(SMALL)
    assert restored is not None
    assert restored.step == 1
    assert "checkpoint 2 is damaged (count does not match its checksum)" in warnings[0]


def test_a_half_written_one_is_named_and_cleaned_away(tmp_path: Path) -> None:
    save_small(tmp_path, 1, 2)
    # What a kill in the middle of the next one leaves.
    (tmp_path / "c" / "3.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    warnings: list[str] = []
    with open_checkpoints(tmp_path, warnings=warnings) as checkpoints:
        restored = checkpoints.restore(SMALL)
        assert restored is not None
        assert restored.step == 2
        checkpoints.save(3, small(3), {})
    assert warnings == [f"{tmp_path}/c: checkpoint 3 is half-written; going on from checkpoint 2"]
    assert not list((tmp_path / "c").glob("*tmp*"))
    assert kept_steps(tmp_path) == [2, 3]


def test_where_all_are_damaged_it_is_said_that_everything_begins_anew(tmp_path: Path) -> None:
    save_small(tmp_path, 3, 6)
    for step in (3, 6):
        shutil.rmtree(tmp_path / "c" / str(step) / "state")
    warnings: list[str] = []
    with open_checkpoints(tmp_path, warnings=warnings) as checkpoints:
        assert checkpoints.restore(SMALL) is None
        # The place of the damaged one is free again.
        checkpoints.save(3, small(3), {})
    [warning] = warnings
    assert "checkpoint 6 is damaged" in warning
    assert "checkpoint 3 is damaged" in warning
    assert warning.endswith("; starting from the beginning")
    assert kept_steps(tmp_path) == [3]


@pytest.mark.parametrize(
    ("like", "owner", "message"),
    [
        (
            {**SMALL, "weight": jnp.zeros((2, 4))},
            "core-1",
            r"is of another architecture or tokenizer \(weight is float32\[2, 4\] here and float32\[2, 3\] there\)",
        ),
        ({**SMALL, "count": jnp.zeros(())}, "core-1", r"count is float32\[\] here and int32\[\] there"),
        ({**SMALL, "bias": jnp.zeros(2)}, "core-1", r"bias is float32\[2\] here and missing there"),
        ({"count": SMALL["count"]}, "core-1", r"weight is missing here, float32\[2, 3\] there"),
        (SMALL, "core-2", "belongs to core-1, not to core-2"),
    ],
    ids=["shape", "type", "more", "less", "owner"],
)
def test_what_is_somebody_elses_is_refused_and_left(tmp_path: Path, like: Any, owner: str, message: str) -> None:
    save_small(tmp_path, 3, 6)
    with (
        pytest.raises(UserError, match=rf"c: checkpoint 6 .*{message}.*; move it away to begin anew") as caught,
        open_checkpoints(tmp_path, owner=owner) as checkpoints,
    ):
        checkpoints.restore(like)
    assert "\n" not in str(caught.value)
    assert kept_steps(tmp_path) == [3, 6]


def test_a_checkpoint_of_another_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codling.train.checkpoint.RECORD_SCHEMA_VERSION", 99)
    save_small(tmp_path, 1)
    monkeypatch.undo()
    with pytest.raises(UserError, match="in another format"), open_checkpoints(tmp_path) as checkpoints:
        checkpoints.restore(SMALL)


def test_what_is_not_damage_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_small(tmp_path, 1)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with open_checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr(checkpoints._manager, "restore", refuse)
        with pytest.raises(PermissionError):
            checkpoints.restore(SMALL)
    assert kept_steps(tmp_path) == [1]


def test_going_back_deletes_what_came_after(tmp_path: Path) -> None:
    with open_checkpoints(tmp_path, Keep(1, last=5)) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, small(step), {"next_index": step})
        restored = checkpoints.go_back(2, SMALL)
        assert restored is not None
        assert (restored.step, restored.position) == (2, {"next_index": 2})
        checkpoints.save(3, small(30), {})
    assert kept_steps(tmp_path) == [1, 2, 3]


def test_the_record_says_who_wrote_what(tmp_path: Path) -> None:
    save_small(tmp_path, 5)
    [file] = (tmp_path / "c" / "5" / "record").glob("meta*")
    record = json.loads(file.read_text())
    assert (record["step"], record["owner"]) == (5, "core-1")
    assert {"codling", "jax"} <= record["libraries"].keys()
    assert record["arrays"] == [
        {"name": "count", "shape": [], "dtype": "int32"},
        {"name": "weight", "shape": [2, 3], "dtype": "float32"},
    ]


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_checkpoints(tmp_path) as checkpoints:
        finalize = checkpoints._manager._finalize

        def slow(*arguments: Any) -> None:
            time.sleep(0.5)
            finalize(*arguments)

        monkeypatch.setattr(checkpoints._manager, "_finalize", slow)
        waits_s = []
        for step in (1, 2):
            since_s = time.perf_counter()
            checkpoints.save(step, small(step), {})
            waits_s.append(time.perf_counter() - since_s)
        since_s = time.perf_counter()
        checkpoints.wait()
        assert time.perf_counter() - since_s > 0.3
    # The first returns at once, the second waits for the first.
    assert waits_s[0] < 0.4 < waits_s[1]
    assert kept_steps(tmp_path) == [1, 2]


def test_an_error_of_writing_comes_out_unless_another_is_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, *, also: Exception | None) -> None:
        with open_checkpoints(tmp_path / name) as checkpoints:

            def refuse(*_: Any) -> None:
                checkpoints._manager._wait_for_checkpointers()
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(checkpoints._manager, "_finalize", refuse)
            checkpoints.save(1, SMALL, {})
            if also is not None:
                raise also

    with pytest.raises(OSError, match="No space left"):
        fail("a", also=None)
    with pytest.raises(UserError, match="first"):
        fail("b", also=UserError("first"))


def test_a_deleted_directory_is_gone(tmp_path: Path) -> None:
    checkpoints = open_checkpoints(tmp_path)
    checkpoints.save(1, {"weight": jnp.ones(2)}, {})
    checkpoints.delete()
    assert not (tmp_path / "c").exists()


def test_steps_are_read_newest_first_as_numbers(tmp_path: Path) -> None:
    save_small(tmp_path, 9, 10, 100, keep=Keep(1, last=9))
    for before, after in itertools.pairwise([100, 10, 9]):
        (tmp_path / "c" / str(before) / "record").rename(tmp_path / f"record-{before}")
        with open_checkpoints(tmp_path) as checkpoints:
            restored = checkpoints.restore(SMALL)
        assert restored is not None
        assert restored.step == after

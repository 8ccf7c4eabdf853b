from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
import pytest

from codling.errors import UserError
from codling.train.checkpoint import Checkpoints, Keep
from codling.train.course import Course, Loader, Place
from codling.train.sharding import data_mesh, replicate
from codling.train.spike import SpikeConfig, SpikeWatch
from codling.train.state import TrainState, init_state

SAVE_EVERY_STEPS = 2


class Counter:
    def __init__(self) -> None:
        self.index = 0

    def __next__(self) -> int:
        self.index += 1
        return self.index

    def get_state(self) -> dict[str, Any]:
        return {"index": self.index}

    def set_state(self, state: dict[str, Any]) -> None:
        self.index = state["index"]


def state_after(step: int) -> TrainState[Any]:
    state = init_state({"weight": jnp.full(3, float(step))}, optax.sgd(0.1, momentum=0.9))
    state = TrainState(state.params, state.optimizer_state, jnp.asarray(step, jnp.int32))
    return replicate(state, data_mesh(2))


class Run:
    """A course with its parts."""

    def __init__(self, directory: Path, max_skips: int = 2) -> None:
        self.loader = Counter()
        self.watch = SpikeWatch(SpikeConfig(threshold_nats=1.0, window_steps=2, max_skips=max_skips))
        keep = Keep(SAVE_EVERY_STEPS, last=2)
        self.checkpoints = Checkpoints(directory / "c", keep, owner="core-1", warn=lambda _: None)
        self.course = Course(
            "core",
            self.checkpoints,
            self.loader,
            self.watch,
            lambda: state_after(0),
            save_every_steps=SAVE_EVERY_STEPS,
        )

    def steps(self, first: int, last: int, *saved: int) -> None:
        for step in range(first, last + 1):
            next(self.loader)
            assert not self.watch.is_spike(1.0 + step / 100)
            if step in saved:
                self.course.save(Place(state_after(step), step))


def weight(place: Place) -> float:
    assert int(place.state.step) == place.step
    return float(np.asarray(place.state.params["weight"])[0])


def test_a_loader_is_what_can_be_set() -> None:
    assert isinstance(Counter(), Loader)


def test_without_checkpoints_it_begins_at_the_beginning(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with run.checkpoints:
        assert run.course.resume().step == 0
        assert run.loader.index == 0


def test_all_that_belongs_to_a_step_comes_back_together(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with run.checkpoints:
        run.steps(1, 5, 2, 4)
    other = Run(tmp_path)
    with other.checkpoints:
        place = other.course.resume()
    assert (place.step, weight(place), other.loader.index) == (4, 4.0, 4)
    assert other.watch.get_state()["losses"] == [1.03, 1.04]
    assert place.state.params["weight"].sharding == state_after(0).params["weight"].sharding


def test_going_back_leaves_the_loader_where_it_is(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with run.checkpoints:
        run.steps(1, 5, 2, 4, 5)  # as if SIGTERM had come after step 5
        place = run.course.skip_back(6, 9.0)
        assert (place.step, weight(place), run.loader.index) == (4, 4.0, 5)
        assert run.watch.get_state()["losses"] == [1.03, 1.04]
        again = run.course.skip_back(5, 8.0)
        assert again.step == 4
        assert [(skip.resumed_step, skip.spike_step) for skip in run.watch.skips] == [(4, 6), (4, 5)]
        with pytest.raises(
            UserError, match=r"core: loss 7.000 at step 5 is a spike \(median 1.035\) and 2 were skipped"
        ):
            run.course.skip_back(5, 7.0)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["2", "4"]


def test_before_the_first_checkpoint_it_goes_back_to_the_first_state(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with run.checkpoints:
        run.steps(1, 2)
        place = run.course.skip_back(2, 9.0)
    assert (place.step, weight(place), run.loader.index) == (0, 0.0, 2)
    assert run.watch.get_state()["losses"] == []
    assert jax.tree.leaves(place.state.params)[0].shape == (3,)

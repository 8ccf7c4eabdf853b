import math
from typing import Any

import numpy as np
import pytest

from codling.config import from_dict
from codling.errors import UserError
from codling.train.schedule import Decay, ScheduleConfig, rates_of_updates

TOLERANCE = 1e-5
NUM_STEPS = 50


def rates(config: ScheduleConfig, num_steps: int = NUM_STEPS) -> list[float]:
    """With the zero that the rise starts from, which no update has."""
    start = 0.0 if config.warmup_steps else float(np.float32(config.peak_rate))
    return [start, *map(float, rates_of_updates(config, num_steps))]


def reference(step: int, peak: float, warmup: int, final: float) -> float:
    if step < warmup:
        return peak * step / warmup
    progress = (step - warmup) / (NUM_STEPS - warmup)
    return peak * (final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2)


@pytest.mark.parametrize("warmup", [0, 10])
@pytest.mark.parametrize("decay", Decay)
def test_the_rate_rises_to_the_peak_and_never_again(warmup: int, decay: Decay) -> None:
    curve = rates(ScheduleConfig(peak_rate=0.3, warmup_steps=warmup, final_fraction=0.1, decay=decay))
    assert max(curve) == pytest.approx(curve[warmup]) == pytest.approx(0.3)
    assert curve[: warmup + 1] == sorted(curve[: warmup + 1])
    assert curve[warmup:] == sorted(curve[warmup:], reverse=True)


@pytest.mark.parametrize(("warmup", "final"), [(0, 0.005), (10, 0.0), (49, 1.0)])
def test_cosine_equals_the_formula(warmup: int, final: float) -> None:
    curve = rates(ScheduleConfig(peak_rate=0.3, warmup_steps=warmup, final_fraction=final))
    expected = [reference(step, 0.3, warmup, final) for step in range(NUM_STEPS + 1)]
    assert curve == pytest.approx(expected, rel=TOLERANCE, abs=1e-7)


def test_constant_is_constant_after_the_warmup() -> None:
    curve = rates(ScheduleConfig(peak_rate=0.3, warmup_steps=4, decay=Decay.CONSTANT))
    assert curve[:5] == pytest.approx([0, 0.075, 0.15, 0.225, 0.3], rel=TOLERANCE)
    assert set(curve[4:]) == {curve[4]}


def test_a_stage_shorter_than_its_warmup_is_still_rising_at_its_end() -> None:
    curve = rates(ScheduleConfig(peak_rate=0.3, warmup_steps=10, final_fraction=0.1), num_steps=5)
    assert curve == pytest.approx([0.03 * step for step in range(6)], rel=TOLERANCE)


@pytest.mark.parametrize(
    "changes", [{"peak_rate": 0.0}, {"warmup_steps": -1}, {"final_fraction": 1.5}, {"final_fraction": -0.1}]
)
def test_rates_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="peak_rate must be > 0, warmup_steps >= 0, final_fraction within 0 and 1"):
        from_dict(ScheduleConfig, {"peak_rate": 0.1} | changes, source="test")


def test_an_unknown_decay_is_refused() -> None:
    with pytest.raises(UserError, match=r"key 'decay'.*'linear'"):
        from_dict(ScheduleConfig, {"peak_rate": 0.1, "decay": "linear"}, source="test")

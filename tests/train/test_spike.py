import json
import math

import pytest

from codling.train.spike import Skip, SpikeConfig, SpikeWatch, skip_figures

CONFIG = SpikeConfig(threshold_nats=1.0, window_steps=3, max_skips=1)


def watch_after(*losses: float) -> SpikeWatch:
    watch = SpikeWatch(CONFIG)
    assert not any(watch.is_spike(loss) for loss in losses)
    return watch


def test_a_spike_is_far_above_the_median_of_the_window() -> None:
    watch = watch_after(9.0, 2.0, 3.0, 2.5)
    assert watch.median == 2.5
    assert not watch.is_spike(3.5)
    assert watch.median == 3.0
    assert watch.is_spike(4.01)
    # It is not part of what later losses are compared with.
    assert watch.median == 3.0


def test_nothing_is_a_spike_before_the_window_is_full() -> None:
    assert watch_after(1.0, 99.0, 1.0).is_spike(99.0)


def test_without_a_configuration_nothing_is() -> None:
    watch = SpikeWatch(None)
    assert not any(watch.is_spike(10.0**exponent) for exponent in range(9))
    assert watch.get_state() == SpikeWatch.FIRST_STATE
    assert watch.is_exhausted


def test_the_state_goes_through_json_without_loss() -> None:
    watch = watch_after(1 / 3, 2 / 3, math.pi)
    watch.skips = (Skip(4, 7, 0.1, 1 / 7),)
    other = SpikeWatch(CONFIG)
    other.set_state(json.loads(json.dumps(watch.get_state())))
    assert other.get_state() == watch.get_state()
    assert other.skips == watch.skips
    assert other.is_exhausted
    assert other.is_spike(9.0)


@pytest.mark.parametrize("wrong", [{"threshold_nats": 0.0}, {"window_steps": 0}, {"max_skips": -1}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="threshold_nats must be > 0"):
        SpikeConfig(**({"threshold_nats": 1.0} | wrong))  # type: ignore[arg-type]


def test_a_manifest_tells_of_skips_where_there_were_any() -> None:
    assert skip_figures(()) == {}
    [told] = skip_figures([Skip(4, 7, 9.0, 1.0)])["loss_spikes_skipped"]
    assert told == {"resumed_step": 4, "spike_step": 7, "spike_loss": 9.0, "median_loss": 1.0}

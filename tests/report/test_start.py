from codling.artifact.stage import Artifact
from codling.report.start import start_parts


def test_each_stage_stands_beside_the_controls(inputs: dict[str, Artifact]) -> None:
    first, second = start_parts(inputs)
    assert (first.grown.nll, first.control.nll, first.num_tokens) == (4.321, 4.999, 4000)
    assert (second.grown.nll, second.control.nll, second.num_tokens) == (4.111, 4.099, 8000)
    assert second.grown.accuracy == 4.111 / 10


def test_accuracy_that_was_not_measured_is_not_made_up(inputs: dict[str, Artifact]) -> None:
    del inputs["device_distill"].manifest.metrics["heldout_after"]["accuracy"]
    assert start_parts(inputs)[0].grown.accuracy is None

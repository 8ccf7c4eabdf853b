"""Fine-tuning learns the assistant's tokens, and refuses rows beyond the context."""

from dataclasses import replace
from pathlib import Path

import jax
import pytest

from codling.artifact.workspace import SilentReporter, Workspace
from codling.data.mixture import MixtureWeights
from codling.errors import UserError
from codling.posttrain.sft import run_sft
from codling.recipes.tiny import tiny
from tests.conftest import TinyBuild


def test_it_lowers_the_loss_of_the_skills(tiny_build: TinyBuild) -> None:
    metrics = tiny_build.artifacts["server_sft"].manifest.metrics
    assert metrics["heldout_after"]["nll_skills"] < metrics["heldout_before"]["nll_skills"]
    assert {"tool_calls", "intents", "story_answers", "stories"} <= set(metrics["heldout_after"]["nll_by_kind"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sequence_length_tokens": 4096}, "beyond the model's context of 1024 tokens"),
        ({"mixture": MixtureWeights(share_by_kind={"poems": 1.0})}, "mixture names the unknown kind 'poems'"),
        ({"sequence_length_tokens": 16}, "16"),
    ],
)
def test_bad_configurations_are_refused(
    tiny_build: TinyBuild, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    config = replace(tiny().server_sft, **change)  # type: ignore[arg-type]
    inputs = tiny_build.inputs(tokens="tokens", model="server_long_context")
    with pytest.raises(UserError, match=message):
        run_sft(config, inputs, Workspace("x", tmp_path, SilentReporter()), jax.random.key(0))
    assert not list(tmp_path.iterdir())

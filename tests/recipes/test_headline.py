"""Every stage that says something in a line says it of real figures."""

import re
from dataclasses import replace

import pytest

from codling.recipes.headline import headline
from tests.conftest import TinyBuild

NUMBER = r"-?\d[\d,]*(\.\d+)?"


@pytest.mark.parametrize(
    ("stage", "line"),
    [
        ("tokenizer", r"1024 tokens, N bytes a token"),
        ("server_sft", r"held-out loss N -> N"),
        ("server_round1_rs", r"held-out loss N -> N"),
        ("device_compress", r"N bits a weight, N with the embedding"),
        ("device_recover", r"won back N% of what palettization lost"),
        ("device_adapt_intents", r"held-out loss of its skill N -> N"),
        ("task_prompts", r"40 prompts to learn from, 10 to elect by"),
        ("server_round1_pairs", r"N pairs of answers to 16 prompts"),
        ("server_round1_labels", r"N of N pairs labeled"),
        ("server_round1_rewards", r"(accuracy N on N held-out pairs|trained on N pairs; none is held out)"),
        ("server_round1_best", r"N of 40 prompts answered well"),
        ("server_round1_mdloo", r"reward N -> N"),
        ("device_round1_committee", r"best device_\w+, N"),
        ("device_aligned", r"device_\w+, N"),
        ("device_round0_committee", r""),
        ("measure", r""),
    ],
)
def test_a_stage_says_what_it_did(tiny_build: TinyBuild, stage: str, line: str) -> None:
    found = headline(tiny_build.artifacts[stage].manifest)
    assert re.fullmatch(line.replace("N", NUMBER), found), found


def test_a_reward_model_is_judged_on_what_is_held_out(tiny_build: TinyBuild) -> None:
    manifest = tiny_build.artifacts["server_round1_rewards"].manifest
    after = {"accuracy": 0.8125, "num_pairs": 1_200}
    for figures, line in (
        (after, "accuracy 0.81 on 1,200 held-out pairs"),
        (None, "trained on 5 pairs; none is held out"),
    ):
        metrics = manifest.metrics | {"after": figures, "num_train_pairs": 5}
        assert headline(replace(manifest, metrics=metrics)) == line

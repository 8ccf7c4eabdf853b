"""Distillation trains on the teacher, and refuses one that speaks other tokens."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from codling.artifact.workspace import SilentReporter, Workspace
from codling.errors import UserError
from codling.pretrain.distill import TeacherTargets, run_distill
from codling.pretrain.teacher_choices import CHOICES_FILE
from codling.recipes.tiny import tiny
from codling.train.metrics import read_metrics
from tests.conftest import TinyBuild


def test_it_starts_from_the_pruned_model_and_logs_the_agreement(tiny_build: TinyBuild) -> None:
    distilled, pruned = (tiny_build.artifacts[name] for name in ("device_distill", "device_prune"))
    assert distilled.manifest.metrics["heldout_before"]["nll"] == pytest.approx(
        pruned.manifest.metrics["heldout_after"]["nll"], abs=1e-5
    )
    assert all(0 <= record["teacher_agreement"] <= 1 for record in read_metrics(distilled.path))


def test_a_teacher_with_another_tokenizer_is_refused(tiny_build: TinyBuild, tmp_path: Path) -> None:
    inputs = tiny_build.inputs(tokens="tokens", model="device_prune", teacher="server_core")
    foreign = tmp_path / "teacher"
    shutil.copytree(inputs["teacher"].path, foreign)
    values = json.loads((foreign / "config.json").read_text())
    (foreign / "config.json").write_text(json.dumps(values | {"codling_tokenizer_sha256": "0" * 64}))
    inputs["teacher"] = inputs["teacher"]._replace(path=foreign)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UserError, match="teacher and student have different tokenizers"):
        run_distill(tiny().device_distill, inputs, Workspace("x", out, SilentReporter()), jax.random.key(0))
    assert not list(out.iterdir())


def test_written_choices_give_the_losses_of_a_teacher_in_the_step(tiny_build: TinyBuild, tmp_path: Path) -> None:
    inputs = tiny_build.inputs(tokens="tokens", model="device_prune", teacher="server_core")
    key = jax.random.key(0)

    def curve(targets: TeacherTargets) -> list[list[float]]:
        out = Workspace("distill", tmp_path / targets, SilentReporter())
        out.path.mkdir()
        run_distill(replace(tiny().device_distill, teacher_targets=targets), inputs, out, key)
        assert not (out.path / CHOICES_FILE).exists()
        return [[record[name] for name in ("loss", "nll", "teacher_agreement")] for record in read_metrics(out.path)]

    in_step, written = curve(TeacherTargets.IN_STEP), curve(TeacherTargets.WRITTEN)
    assert len(in_step) == 6
    np.testing.assert_allclose(written, in_step, rtol=1e-5)

"""The teacher's choices: right, in the loader's order, and written once."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from codling.artifact.model_files import load_model
from codling.artifact.workspace import SilentReporter, Workspace
from codling.data.loader import BatchLoader, build_loader
from codling.data.prepare import open_corpus
from codling.pretrain.teacher_choices import ChoicesLoader, write_choices
from codling.recipes.tiny import tiny
from tests.conftest import TinyBuild


def open_loader(tiny_build: TinyBuild) -> BatchLoader:
    corpus = open_corpus(tiny_build.artifacts["tokens"].path)
    mixture = tiny().server_core.mixture
    rows = corpus.training_rows(mixture, row_length_tokens=64, seed=0)
    return build_loader(rows, mixture, batch_size_rows=2)


def test_every_batch_has_the_choices_that_the_teacher_makes_on_it(tiny_build: TinyBuild, tmp_path: Path) -> None:
    teacher = load_model(tiny_build.artifacts["server_core"].path)
    with open_loader(tiny_build) as loader:
        path = write_choices(teacher, loader, 4, Workspace("x", tmp_path, SilentReporter()))
        with_choices = ChoicesLoader(loader, path)
        assert with_choices.get_state()["next_index"] == 0
        with_choices.set_state({"next_index": 2})
        rows, choices = next(with_choices)
        arrays = (jnp.asarray(x) for x in (rows.tokens, rows.positions, rows.segment_ids))
        hidden = teacher(*arrays, rope_theta=teacher.config.rope_theta)
        np.testing.assert_array_equal(choices, np.argmax(np.asarray(teacher.logits(hidden)), axis=-1))


def test_what_was_written_is_not_written_again(tiny_build: TinyBuild, tmp_path: Path) -> None:
    teacher = load_model(tiny_build.artifacts["server_core"].path)
    workspace = Workspace("x", tmp_path, SilentReporter())
    with open_loader(tiny_build) as loader:
        path = write_choices(teacher, loader, 2, workspace)
        written_at_ns = path.stat().st_mtime_ns
        assert write_choices(teacher, loader, 2, workspace).stat().st_mtime_ns == written_at_ns
        assert [file.name for file in tmp_path.iterdir()] == [path.name]

"""llama.cpp spells text in our ids and computes our logits from our GGUF files: `pytest -m live`.

Needs llama-cpp-python, which is built from source and so in no extra: `pip install llama-cpp-python`.
"""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from codling.artifact.bundle import Bundle, load_bundle
from codling.artifact.gguf_file import export_gguf
from codling.artifact.import_checkpoint import import_checkpoint
from tests.foreign_checkpoint import write_checkpoint

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("default")]

RELATIVE_TOLERANCES = {"f32": 5e-3, "f16": 1e-2, "q8_0": 5e-2}
"""Of the largest logit. llama.cpp keeps keys and values in f16, whatever the weights are."""
TEXTS = ["Alice was beginning to get very tired", "12 cats, don't\r\n\r\n  ask 🐇 naïve\t!", " ", "日本"]


@pytest.fixture(scope="module", params=["ours", "palettized", "qwen3", "llama"])
def bundle(request: pytest.FixtureRequest, pair: Any, foreign: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    place = tmp_path_factory.mktemp("llama")
    if request.param == "llama":
        import_checkpoint(write_checkpoint(place / "theirs", "llama", begins=True), place / "ours")
    paths = {"ours": pair.server, "palettized": pair.device, "qwen3": foreign.bundle, "llama": place / "ours"}
    return load_bundle(paths[request.param])


def open_in_llama_cpp(bundle: Bundle, tmp_path: Path, weight_type: str) -> Any:
    llama_cpp = pytest.importorskip("llama_cpp")
    export_gguf(bundle, tmp_path / "out.gguf", weight_type)
    return llama_cpp.Llama(str(tmp_path / "out.gguf"), n_ctx=64, logits_all=True, verbose=False)


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_spelled_in_our_ids(bundle: Bundle, tmp_path: Path, text: str) -> None:
    theirs = open_in_llama_cpp(bundle, tmp_path, "f32")
    assert theirs.tokenize(text.encode(), add_bos=False, special=False) == bundle.tokenizer.encode(text)
    begun = [*bundle.tokenizer.begin_ids, *bundle.tokenizer.encode(text)]
    assert theirs.tokenize(text.encode(), add_bos=True, special=False) == begun


@pytest.mark.parametrize("weight_type", RELATIVE_TOLERANCES)
def test_logits_are_ours(bundle: Bundle, tmp_path: Path, weight_type: str) -> None:
    theirs = open_in_llama_cpp(bundle, tmp_path, weight_type)
    ids = bundle.tokenizer.encode(TEXTS[0])
    theirs.eval(ids)
    tokens = jnp.asarray([ids])
    hidden = bundle.model(
        tokens, jnp.arange(len(ids))[None], jnp.ones_like(tokens), rope_theta=bundle.model.config.rope_theta
    )
    ours = np.asarray(bundle.model.logits(hidden)[0])
    difference = np.abs(np.asarray(theirs.scores[: len(ids)]) - ours).max()
    assert difference <= RELATIVE_TOLERANCES[weight_type] * np.abs(ours).max()

"""A GGUF file, read back by the `gguf` package and run by a few lines of NumPy that compute as llama.cpp does."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import jax.numpy as jnp
import numpy as np
import pytest

from codling.artifact.bundle import Bundle, load_bundle
from codling.artifact.gguf_file import WEIGHT_TYPES, export_gguf, neighbor_pairs
from codling.artifact.hf import model_from_tensors, model_tensors
from codling.artifact.import_checkpoint import import_checkpoint
from codling.errors import UserError
from tests.foreign_checkpoint import CHAT_TEMPLATE, IM_END, write_checkpoint

LOGIT_TOLERANCE = 1e-4
TOLERANCES = {"f32": 0.0, "f16": 2**-11, "q8_0": 1 / 127}
"""Of a weight, relative to the largest of its tensor."""


@pytest.fixture(scope="module")
def bundles(pair: Any, foreign: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    place = tmp_path_factory.mktemp("llama")
    import_checkpoint(write_checkpoint(place / "theirs", "llama", begins=True), place / "ours")
    paths = {"ours": pair.server, "palettized": pair.device, "qwen3": foreign.bundle, "llama": place / "ours"}
    return {name: load_bundle(path) for name, path in paths.items()}


class Read:
    """Keys and tensors of a file."""

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self.values = {key: field.contents() for key, field in reader.fields.items()}
        self.types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
        self.tensors = {
            tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type).reshape(tensor.shape[::-1]).copy()
            for tensor in reader.tensors
        }

    def of_architecture(self, key: str) -> Any:
        return self.values[f"{self.values['general.architecture']}.{key}"]


def export(bundle: Bundle, tmp_path: Path, weight_type: str = "f32") -> Read:
    export_gguf(bundle, tmp_path / "out.gguf", weight_type)
    return Read(tmp_path / "out.gguf")


def run(file: Read, ids: list[int]) -> np.ndarray:
    """Logits after each token. llama.cpp rotates neighbors (2i, 2i + 1) in `llama`, and i with i + H/2 in `qwen3`."""
    is_llama = file.values["general.architecture"] == "llama"
    num_heads, num_kv_heads = (
        file.of_architecture("attention.head_count"),
        file.of_architecture("attention.head_count_kv"),
    )
    head_dim, epsilon = (
        file.of_architecture("attention.key_length"),
        file.of_architecture("attention.layer_norm_rms_epsilon"),
    )
    angles = np.arange(len(ids))[:, None] * file.of_architecture("rope.freq_base") ** -(
        np.arange(0, head_dim, 2) / head_dim
    )

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        scale = file.tensors[f"{name}.weight"]
        normal: np.ndarray = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * scale
        return normal

    def rotate(x: np.ndarray) -> np.ndarray:
        first, second = (x[..., ::2], x[..., 1::2]) if is_llama else np.split(x, 2, axis=-1)
        cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
        turned = first * cosine - second * sine, second * cosine + first * sine
        return np.stack(turned, -1).reshape(x.shape) if is_llama else np.concatenate(turned, -1)

    x = file.tensors["token_embd.weight"][ids].astype(np.float64)
    mask = np.triu(np.full((len(ids), len(ids)), -np.inf), 1)
    for layer in range(file.of_architecture("block_count")):

        def apply(part: str, x: np.ndarray, layer: int = layer) -> np.ndarray:
            y: np.ndarray = x @ file.tensors[f"blk.{layer}.{part}.weight"].T
            return y

        hidden = norm(x, f"blk.{layer}.attn_norm")
        queries, keys, values = (
            apply(f"attn_{part}", hidden).reshape(len(ids), -1, head_dim) for part in ("q", "k", "v")
        )
        if not is_llama:
            queries, keys = norm(queries, f"blk.{layer}.attn_q_norm"), norm(keys, f"blk.{layer}.attn_k_norm")
        queries, keys = rotate(queries), rotate(keys)
        keys, values = (part.repeat(num_heads // num_kv_heads, axis=1) for part in (keys, values))
        scores = np.einsum("tnh,snh->nts", queries, keys) / np.sqrt(head_dim) + mask
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        x = x + apply("attn_output", np.einsum("nts,snh->tnh", weights, values).reshape(len(ids), -1))
        hidden = norm(x, f"blk.{layer}.ffn_norm")
        gate = apply("ffn_gate", hidden)
        x = x + apply("ffn_down", gate / (1 + np.exp(-gate)) * apply("ffn_up", hidden))
    logits: np.ndarray = norm(x, "output_norm") @ file.tensors["token_embd.weight"].T
    return logits


def our_logits(bundle: Bundle, ids: list[int]) -> np.ndarray:
    tokens = jnp.asarray([ids])
    hidden = bundle.model(
        tokens, jnp.arange(len(ids))[None], jnp.ones_like(tokens), rope_theta=bundle.model.config.rope_theta
    )
    return np.asarray(bundle.model.logits(hidden)[0])


@pytest.mark.parametrize("name", ["ours", "palettized", "qwen3", "llama"])
def test_what_is_in_the_file_computes_our_logits(bundles: dict[str, Bundle], tmp_path: Path, name: str) -> None:
    bundle = bundles[name]
    ids = bundle.tokenizer.encode("Alice was beginning to get very tired")
    ours = our_logits(bundle, ids)
    theirs = run(export(bundle, tmp_path), ids)
    assert np.abs(ours).max() > 1
    np.testing.assert_allclose(theirs, ours, atol=LOGIT_TOLERANCE * np.abs(ours).max())


@pytest.mark.parametrize("weight_type", WEIGHT_TYPES)
@pytest.mark.parametrize("name", ["ours", "palettized", "qwen3", "llama"])
def test_tensors_are_ours_under_their_names(
    bundles: dict[str, Bundle], tmp_path: Path, name: str, weight_type: str
) -> None:
    bundle = bundles[name]
    config = bundle.model.config
    file = export(bundle, tmp_path, weight_type)
    ours = model_tensors(bundle.model)
    assert len(file.tensors) == len(ours)
    names = {"self_attn.q_proj": "attn_q", "self_attn.o_proj": "attn_output", "mlp.down_proj": "ffn_down"}
    pairs = {f"blk.1.{theirs}.weight": ours[f"model.layers.1.{name}.weight"] for name, theirs in names.items()}
    if not config.query_key_norm:
        pairs["blk.1.attn_q.weight"] = neighbor_pairs(pairs["blk.1.attn_q.weight"], config.num_query_heads)
    pairs |= {"token_embd.weight": ours["model.embed_tokens.weight"], "output_norm.weight": ours["model.norm.weight"]}
    for their_name, expected in pairs.items():
        tolerance = TOLERANCES[weight_type] * np.abs(expected).max()
        np.testing.assert_allclose(file.tensors[their_name], expected, atol=tolerance)
        assert file.types[their_name] in ("F32" if expected.ndim == 1 else weight_type.upper(), "F16")
    has_blocks = all(shape % 32 == 0 for shape in (config.model_dim, config.ffn_dim))
    assert ("Q8_0" in file.types.values()) == (weight_type == "q8_0" and config.model_dim % 32 == 0)
    assert has_blocks or file.types["blk.1.ffn_down.weight"] in ("F32", "F16")


@pytest.mark.parametrize("name", ["ours", "llama"])
def test_the_shape_is_told(bundles: dict[str, Bundle], tmp_path: Path, name: str) -> None:
    config = bundles[name].model.config
    file = export(bundles[name], tmp_path)
    assert file.values["general.architecture"] == ("qwen3" if config.query_key_norm else "llama")
    assert file.values["general.name"] == bundles[name].identity
    told = {
        "vocab_size": config.vocab_size,
        "context_length": config.context_length_tokens,
        "embedding_length": config.model_dim,
        "block_count": config.num_layers,
        "feed_forward_length": config.ffn_dim,
        "attention.head_count": config.num_query_heads,
        "attention.head_count_kv": config.num_kv_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "rope.dimension_count": config.head_dim,
    }
    assert {key: file.of_architecture(key) for key in told} == told
    assert file.of_architecture("rope.freq_base") == pytest.approx(config.rope_theta)
    assert file.of_architecture("attention.layer_norm_rms_epsilon") == pytest.approx(config.norm_epsilon)


def test_our_own_tokenizer_is_told(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    values = export(bundles["ours"], tmp_path).values
    assert values["tokenizer.ggml.model"] == "llama"
    assert len(values["tokenizer.ggml.tokens"]) == bundles["ours"].tokenizer.vocab_size
    assert len(values["tokenizer.ggml.scores"]) == len(values["tokenizer.ggml.token_type"]) == 600
    keys = ("bos", "eos", "eot", "unknown", "padding")
    assert [values[f"tokenizer.ggml.{key}_token_id"] for key in keys] == [1, 2, 10, 0, 3]
    assert values["tokenizer.ggml.add_bos_token"] is True
    assert values["tokenizer.ggml.add_space_prefix"] is False
    assert "<|assistant|>" in values["tokenizer.chat_template"]


def test_their_tokenizer_is_told(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    values = export(bundles["qwen3"], tmp_path).values
    assert (values["tokenizer.ggml.model"], values["tokenizer.ggml.pre"]) == ("gpt2", "qwen2")
    assert values["tokenizer.ggml.tokens"][IM_END] == "<|im_end|>"
    assert values["tokenizer.ggml.eos_token_id"] == IM_END
    assert values["tokenizer.ggml.merges"][0].count(" ") == 1
    assert values["tokenizer.ggml.add_bos_token"] is False
    assert values["tokenizer.chat_template"] == CHAT_TEMPLATE


def test_neighbor_pairs_of_two_heads() -> None:
    rows = np.arange(8, dtype=np.float32)[:, None]
    assert neighbor_pairs(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("weight_type", ["f16", "q8_0"])
def test_what_f16_cannot_hold_is_named_and_nothing_is_written(
    bundles: dict[str, Bundle], tmp_path: Path, weight_type: str
) -> None:
    bundle = bundles["ours"]
    tensors = {name: tensor.copy() for name, tensor in model_tensors(bundle.model).items()}
    tensors["model.layers.1.mlp.down_proj.weight"][0, 0] = -70_000
    large = bundle._replace(model=model_from_tensors(bundle.model.config, tensors, source="here"))
    # Its rows are no blocks of 32, so f16 is what q8_0 falls back to.
    assert bundle.model.config.ffn_dim % 32
    with pytest.raises(UserError, match=r"down_proj.weight' reaches 7e\+04, more than f16 can hold; use --type f32"):
        export_gguf(large, tmp_path / "out.gguf", weight_type)
    assert not list(tmp_path.iterdir())
    export_gguf(large, tmp_path / "out.gguf", "f32")


@pytest.mark.parametrize(
    ("prepare", "weight_type", "message"),
    [
        (lambda out: None, "q4", r"unknown type of weights 'q4' \(known: f32, f16, q8_0\)"),
        (lambda out: out.write_text("mine"), "f16", "out.gguf: there already; choose another --out"),
        (lambda out: out.mkdir(), "f16", "out.gguf: there already; choose another --out"),
    ],
)
def test_bad_input_is_refused_and_touches_nothing(
    bundles: dict[str, Bundle], tmp_path: Path, prepare: Callable[[Path], Any], weight_type: str, message: str
) -> None:
    prepare(tmp_path / "out.gguf")
    before = [(path, path.stat().st_mtime_ns) for path in tmp_path.iterdir()]
    with pytest.raises(UserError, match=message):
        export_gguf(bundles["ours"], tmp_path / "out.gguf", weight_type)
    assert [(path, path.stat().st_mtime_ns) for path in tmp_path.iterdir()] == before


def test_without_the_package_it_says_what_to_install(
    bundles: dict[str, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UserError, match=r"pip install 'codling\[gguf\]'"):
        export_gguf(bundles["ours"], tmp_path / "out.gguf")
    assert not list(tmp_path.iterdir())


def test_configs_of_the_fixtures_differ_where_it_matters(bundles: dict[str, Bundle]) -> None:
    llama, qwen3 = (bundles[name].model.config for name in ("llama", "qwen3"))
    assert llama == dataclasses.replace(qwen3, query_key_norm=False)
    assert llama.num_query_heads != llama.num_kv_heads

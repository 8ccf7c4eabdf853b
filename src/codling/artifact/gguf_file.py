"""Export to GGUF, the file that llama.cpp and what is built on it run.

A model with query/key norm is its architecture `qwen3`, one without its `llama`. A tensor at a time is turned into the
type asked for and written, so nothing but the model itself is in memory.

Source: names, keys and layout are those of llama.cpp's own converter, as its `gguf` package has them.
"""

import importlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from codling.artifact.bundle import Bundle
from codling.artifact.gguf_tokenizer import GgufTokenizer, gguf_tokenizer
from codling.artifact.hf import model_tensors, tensor_shapes
from codling.artifact.outputs import new_file
from codling.errors import UserError
from codling.model.config import ModelConfig
from codling.tokenizer.imported import TextTokenizer

WEIGHT_TYPES: Final = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0"}
"""Our name of a type of weights -> the format's name of a file of them. q8_0: int8, a 16-bit scale for each 32."""
DEFAULT_TYPE: Final = "f16"
MAX_F16: Final = float(np.finfo(np.float16).max)


def export_gguf(bundle: Bundle, out: Path, weight_type: str = DEFAULT_TYPE) -> None:
    """Write a bundle as one GGUF file, its adapter folded in; palettized weights become what they stand for.

    Errors: `UserError` as for `write_gguf`.
    """
    model = bundle.model
    write_gguf(out, bundle.identity, model.config, bundle.tokenizer, model_tensors(model), weight_type)


def write_gguf(
    out: Path,
    name: str,
    config: ModelConfig,
    tokenizer: TextTokenizer,
    tensors: Mapping[str, np.ndarray],
    weight_type: str = DEFAULT_TYPE,
) -> None:
    """Write a model's float32 tensors, each looked up once, as one GGUF file.

    Vectors (the norms' scales) stay float32, and rows that do not divide into blocks of 32 stay f16 under q8_0.
    Errors: `UserError` for a type that is not known, a missing `gguf` package, a tokenizer that GGUF cannot say, a
    weight that f16 cannot hold, and as for `new_file`; then nothing is written.
    """
    if weight_type not in WEIGHT_TYPES:
        raise UserError(f"unknown type of weights '{weight_type}' (known: {', '.join(WEIGHT_TYPES)})")
    gguf = gguf_package()
    spelled = gguf_tokenizer(tokenizer)
    shapes = tensor_shapes(config)
    names = gguf_names(config, shapes)
    with new_file(out) as partial:
        writer = gguf.GGUFWriter(partial, gguf.MODEL_ARCH_NAMES[_architecture(config)])
        try:
            writer.add_name(name)
            writer.add_file_type(gguf.LlamaFileType[WEIGHT_TYPES[weight_type]])
            writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
            _add_shape(writer, config)
            _add_tokenizer(writer, spelled)
            types = {name: gguf.GGMLQuantizationType[_type_of(shape, weight_type)] for name, shape in shapes.items()}
            for name, shape in shapes.items():
                block_size, block_bytes = gguf.GGML_QUANT_SIZES[types[name]]
                size_bytes = math.prod(shape) // block_size * block_bytes
                writer.add_tensor_info(names[name], shape, np.dtype(np.float32), size_bytes, types[name])
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for name in shapes:
                weights = tensors[name]
                if types[name] == gguf.GGMLQuantizationType.F16 and (largest := np.abs(weights).max()) > MAX_F16:
                    raise UserError(f"tensor '{name}' reaches {largest:.3g}, more than f16 can hold; use --type f32")
                laid_out = np.ascontiguousarray(_lay_out(name, weights, config))
                writer.write_tensor_data(gguf.quantize(laid_out, types[name]))
        finally:
            writer.close()


def gguf_package() -> Any:
    """llama.cpp's Python package. Errors: `UserError` where it is missing."""
    try:
        return importlib.import_module("gguf")
    except ImportError:
        raise UserError("GGUF files need gguf: pip install 'codling[gguf]'") from None


def gguf_names(config: ModelConfig, names: Iterable[str]) -> dict[str, str]:
    """What GGUF calls each of a model's tensors, by its Hugging Face name."""
    theirs = gguf_package().get_tensor_name_map(_architecture(config), config.num_layers)
    return {name: theirs.get_name(name, try_suffixes=(".weight",)) for name in names}


def _architecture(config: ModelConfig) -> Any:
    architectures = gguf_package().MODEL_ARCH
    return architectures.QWEN3 if config.query_key_norm else architectures.LLAMA


def _type_of(shape: tuple[int, ...], weight_type: str) -> str:
    if len(shape) == 1:
        return "F32"
    return "F16" if weight_type == "q8_0" and shape[1] % 32 else weight_type.upper()


def _lay_out(name: str, weights: np.ndarray, config: ModelConfig) -> np.ndarray:
    """llama.cpp's `llama` rotates other pairs than we do, so rows of queries and keys change places; not in `qwen3`."""
    if config.query_key_norm:
        return weights
    if name.endswith("q_proj.weight"):
        return neighbor_pairs(weights, config.num_query_heads)
    return neighbor_pairs(weights, config.num_kv_heads) if name.endswith("k_proj.weight") else weights


def neighbor_pairs(weights: Float[np.ndarray, "NH D"], num_heads: int) -> Float[np.ndarray, "NH D"]:
    """In each head, put row i + H/2 next to row i: RoPE rotates them together, there as neighbors (2i, 2i + 1)."""
    halves = weights.reshape(num_heads, 2, -1, weights.shape[1])
    return halves.swapaxes(1, 2).reshape(weights.shape)


def _add_shape(writer: Any, config: ModelConfig) -> None:
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.context_length_tokens)
    writer.add_embedding_length(config.model_dim)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.ffn_dim)
    writer.add_head_count(config.num_query_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)


def _add_tokenizer(writer: Any, tokenizer: GgufTokenizer) -> None:
    writer.add_tokenizer_model(tokenizer.model)
    writer.add_tokenizer_pre(tokenizer.pre)
    writer.add_token_list(tokenizer.tokens)
    writer.add_token_types([int(kind) for kind in tokenizer.kinds])
    if tokenizer.scores is not None:
        writer.add_token_scores(tokenizer.scores)
    if tokenizer.merges is not None:
        writer.add_token_merges(tokenizer.merges)
    ids = {
        writer.add_bos_token_id: tokenizer.bos_id,
        writer.add_eos_token_id: tokenizer.eos_id,
        writer.add_eot_token_id: tokenizer.eot_id,
        writer.add_unk_token_id: tokenizer.unk_id,
        writer.add_pad_token_id: tokenizer.pad_id,
    }
    for add, token_id in ids.items():
        if token_id is not None:
            add(token_id)
    writer.add_add_bos_token(tokenizer.adds_bos)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    if tokenizer.chat_template is not None:
        writer.add_chat_template(tokenizer.chat_template)

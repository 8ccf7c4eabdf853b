"""GPTQ as llm-compressor offers it: weights rounded column by column, each error made good by the columns after it.

The model goes to transformers, the calibration rows are the tokens of ours. There they know no borders of documents, as
is usual with GPTQ. Everything but widths and groups is the library's default (order of columns by activation, damping).

llm-compressor asks for an older transformers than the extra `compare`, and runs with that of the extra too: hence
INSTALL. On a CPU it needs no more than that.

Price: seconds a setting for a million weights, if PyTorch has the processor for itself. Where it has not, its threads
wait for each other, and OMP_NUM_THREADS=1 is many times as fast.

Source: arXiv 2210.17323; https://docs.vllm.ai/projects/llm-compressor, `GPTQModifier`.
"""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from codling.artifact.bundle import export_hf
from codling.bench.peer_result import (
    PeerInput,
    PeerResult,
    StoredWeight,
    dense_projections,
    require_packages,
    with_our_embedding,
)
from codling.errors import UserError

PACKAGES = ("torch", "transformers", "llmcompressor", "compressed_tensors")
INSTALL = "pip install --no-deps llmcompressor==0.14.0.1 compressed-tensors==0.19.0 loguru nvidia-ml-py"
SCALE_BITS = 16


class Setting(NamedTuple):
    """What differs between the results."""

    width_bits: int
    group_size: int
    """Weights along the input that share a scale and a zero, the zero of width_bits."""


SETTINGS = (Setting(4, 128), Setting(4, 64), Setting(3, 128), Setting(3, 64))


def compress_gptq(given: PeerInput) -> Iterator[PeerResult]:
    """One result a setting; the embedding is ours (`with_our_embedding`).

    Errors: `UserError` where a package is missing, or groups do not divide a matrix, before anything is computed.
    """
    require_packages("gptq", PACKAGES, f"pip install 'codling[compare]'; {INSTALL}")
    for name, weight in dense_projections(given).items():
        for setting in SETTINGS:
            if weight.shape[1] % setting.group_size:
                raise UserError(f"{name}: groups of {setting.group_size} do not divide its {weight.shape[1]} inputs")
    return _results(given)


def _results(given: PeerInput) -> Iterator[PeerResult]:
    exported = given.scratch / "huggingface"
    if exported.exists():
        shutil.rmtree(exported)
    export_hf(given.bundle, exported)
    from transformers import AutoModelForCausalLM

    for setting in SETTINGS:
        given.say(f"gptq: {setting.width_bits} bits, groups of {setting.group_size}")
        model = AutoModelForCausalLM.from_pretrained(exported, dtype="float32")
        # llm-compressor tells its story on what is stdout when it is imported; ours is for results.
        with contextlib.redirect_stdout(sys.stderr):
            _quantize(model, given, setting)
        values = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
        stored = {
            name: StoredWeight(values[name].astype(np.float32), stored_bits(weight.shape, setting))
            for name, weight in dense_projections(given).items()
        }
        yield with_our_embedding(f"GPTQ, {setting.width_bits} bits, groups of {setting.group_size}", given, stored)


def stored_bits(shape: tuple[int, ...], setting: Setting) -> float:
    """Indices, and a scale and a zero a group."""
    num_weights = shape[0] * shape[1]
    return num_weights * (setting.width_bits + (SCALE_BITS + setting.width_bits) / setting.group_size)


def _quantize(model: Any, given: PeerInput, setting: Setting) -> None:
    """Put each linear layer's quantized weights in the place of its dense ones."""
    import torch
    from llmcompressor import oneshot
    from llmcompressor.modifiers.gptq import GPTQModifier

    weights = {
        "num_bits": setting.width_bits,
        "type": "int",
        "symmetric": False,
        "strategy": "group",
        "group_size": setting.group_size,
    }
    recipe = GPTQModifier(
        config_groups={"projections": {"targets": ["Linear"], "weights": weights}}, ignore=["lm_head"]
    )
    rows = [
        {"input_ids": torch.tensor(batch.tokens), "attention_mask": torch.tensor((batch.segment_ids > 0).astype(int))}
        for batch in given.batches
    ]
    # Batches as they are: the loader is not to stack them anew.
    loader = torch.utils.data.DataLoader(rows, batch_size=None)
    oneshot(model=model, dataset=loader, recipe=recipe, num_calibration_samples=len(rows))

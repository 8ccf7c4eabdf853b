"""Time and memory to compress a model of the on-device shape: 2.6B parameters, random weights, from disk.

    python bench/compress_large.py runs/large --json bench/results/compress_large.json

Writes the dense model (bfloat16, 5 GB) and the compressed one (1.3 GB) under the directory given. Compression runs in a
process of its own, whose peak memory is told. Tokens of the calibration text are random as well: what is measured is
work, not quality.
"""

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np

from codling.artifact.hf import WEIGHTS_FILE, tensor_shapes
from codling.artifact.model_files import OWN_SPECIAL_IDS, write_config
from codling.artifact.tensor_files import TensorSpec, stream_tensors
from codling.artifact.workspace import SilentReporter, Workspace
from codling.data.loader import Batch
from codling.model.config import ModelConfig, named_size
from codling.ondevice.compress_blocks import CompressConfig
from codling.ondevice.compress_files import compress_files
from codling.train.host import prepare_host

SIZE, ROW_TOKENS = "device_3b", 512
GOAL_MINUTES, GOAL_GIB = 20.0, 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokens", type=int, default=4096, help="of the calibration text")
    parser.add_argument("--size", default=SIZE)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    dense = arguments.out / "dense"
    if not (dense / WEIGHTS_FILE).exists():
        write_random(dense, named_size(arguments.size))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        record = pool.apply(compress, (dense, arguments.out / "small", arguments.tokens))
    record |= {"size": arguments.size, "goals": {"minutes": GOAL_MINUTES, "GiB": GOAL_GIB}}
    arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(
        f"{record['minutes']:.1f} minutes, {record['peak_GiB']:.2f} GiB at the peak, {record['bits']:.2f} bits a weight"
    )


def write_random(directory: Path, shape: ModelConfig) -> None:
    """Normal weights of deviation 1/sqrt(inputs), norms of 1, written a tensor at a time."""
    directory.mkdir(parents=True, exist_ok=True)
    write_config(directory, shape, tokenizer_sha256="none", special_ids=OWN_SPECIAL_IDS, dtype="bfloat16")
    shapes = tensor_shapes(shape)
    random = np.random.default_rng(0)

    def draw(name: str) -> np.ndarray:
        dims = shapes[name]
        if len(dims) == 1:
            return np.ones(dims, ml_dtypes.bfloat16)
        drawn: np.ndarray = random.standard_normal(dims, np.float32) / dims[1] ** 0.5
        return drawn.astype(ml_dtypes.bfloat16)

    stream_tensors(
        directory / WEIGHTS_FILE, {name: TensorSpec("BF16", dims) for name, dims in shapes.items()}, draw, {}
    )


def compress(dense: Path, small: Path, num_tokens: int) -> dict[str, Any]:
    """Compress to the recipe's 3.7 bits; what it took."""
    prepare_host()
    small.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    config = CompressConfig()
    metrics = compress_files(
        dense, list(batches(num_tokens)), config, Workspace("large", small, SilentReporter()), jax.random.key(0)
    )
    seconds = time.perf_counter() - start
    peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "minutes": seconds / 60,
        "peak_GiB": peak_bytes / 2**30,
        "num_tokens": num_tokens,
        "bits": metrics["bits_per_weight_projections"],
        "bits_total": metrics["bits_per_weight_total"],
        "size_bytes": metrics["size_bytes"],
        "num_parameters": metrics["num_parameters"],
    }


def batches(num_tokens: int) -> Any:
    """Rows of random tokens, two at a time."""
    random = np.random.default_rng(0)
    for _ in range(max(1, num_tokens // (2 * ROW_TOKENS))):
        tokens, targets = random.integers(0, 2048, size=(2, 2, ROW_TOKENS)).astype(np.int32)
        positions = np.tile(np.arange(ROW_TOKENS, dtype=np.int32), (2, 1))
        ones = np.ones((2, ROW_TOKENS), np.int32)
        yield Batch(tokens, targets, ones.astype(np.float32), ones, positions)


if __name__ == "__main__":
    main()

"""What the fuzzer of native/tests/fuzz_loader.cpp begins with: `python -m tests.native.fuzz_seeds FOLDER`."""

import sys
import tempfile
from pathlib import Path

from codling.model.config import ModelConfig
from tests.engine.test_models import BITS, DTYPES, write_model

SHAPES = {
    "qwen": ModelConfig(
        vocab_size=3, num_layers=1, context_length_tokens=9, model_dim=4, ffn_dim=5, num_query_heads=2, num_kv_heads=1,
        head_dim=2,
    ),
    "llama": ModelConfig(
        vocab_size=3, num_layers=1, context_length_tokens=9, model_dim=4, ffn_dim=5, num_query_heads=1, num_kv_heads=1,
        head_dim=4, query_key_norm=False,
    ),
}  # fmt: skip


def write_seeds(folder: Path) -> None:
    """One file for each shape and type of weights."""
    folder.mkdir(parents=True, exist_ok=True)
    for shape, config in SHAPES.items():
        for weights in (*DTYPES, *BITS):
            with tempfile.TemporaryDirectory() as temporary:
                model = write_model(Path(temporary), config, weights)
                text = (model / "config.json").read_bytes()
                content = (model / "model.safetensors").read_bytes()
            (folder / f"{shape} {weights}").write_bytes(len(text).to_bytes(4, "little") + text + content)


if __name__ == "__main__":
    write_seeds(Path(sys.argv[1]))

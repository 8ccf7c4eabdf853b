"""The shape of a model and the named sizes (arXiv 2407.21075 section 2.1 and table 1)."""

import pydantic

from codling.config import config
from codling.errors import UserError


@config
class ModelConfig:
    """Everything that fixes the shapes and the function of a model, except its weights."""

    vocab_size: int
    """Entries of the one matrix that is input and output embedding."""
    model_dim: int
    """Width of the residual stream."""
    ffn_dim: int
    """Hidden width of each SwiGLU layer."""
    num_layers: int
    num_query_heads: int
    num_kv_heads: int
    """Key/value heads; each serves num_query_heads / num_kv_heads query heads."""
    head_dim: int
    context_length_tokens: int
    """Longest sequence the model was trained on; longer input is refused."""
    rope_theta: float = 500_000.0
    """Base of the rotary frequencies; raised to lengthen the context (AXLearn: 500,000 to 6,315,089)."""
    norm_epsilon: float = 1e-5
    query_key_norm: bool = True
    """RMSNorm of each query and key head before RoPE. Off for Llama-shaped checkpoints."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> "ModelConfig":
        for name, value in vars(self).items():
            if not name.startswith("_") and not isinstance(value, bool) and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if self.num_query_heads % self.num_kv_heads:
            heads = f"num_query_heads {self.num_query_heads}, num_kv_heads {self.num_kv_heads}"
            raise ValueError(f"the first must be a multiple of the second: {heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even for RoPE, got {self.head_dim}")
        return self


SIZES: dict[str, ModelConfig] = {
    # The pair of the quickstart: what two cores can train in minutes. Ours.
    "quickstart_server": ModelConfig(
        vocab_size=2048, model_dim=128, ffn_dim=512, num_layers=4, num_query_heads=4, num_kv_heads=2, head_dim=32,
        context_length_tokens=256,
    ),
    "quickstart_device_parent": ModelConfig(
        vocab_size=2048, model_dim=96, ffn_dim=512, num_layers=4, num_query_heads=3, num_kv_heads=1, head_dim=32,
        context_length_tokens=256,
    ),
    "quickstart_device": ModelConfig(
        vocab_size=2048, model_dim=96, ffn_dim=256, num_layers=4, num_query_heads=3, num_kv_heads=1, head_dim=32,
        context_length_tokens=256,
    ),
    # A pair for one GPU: about 110M and 50M parameters. Ours.
    "mini_server": ModelConfig(
        vocab_size=16_384, model_dim=768, ffn_dim=2816, num_layers=12, num_query_heads=12, num_kv_heads=4, head_dim=64,
        context_length_tokens=1024,
    ),
    "mini_device_parent": ModelConfig(
        vocab_size=16_384, model_dim=512, ffn_dim=4608, num_layers=12, num_query_heads=8, num_kv_heads=4, head_dim=64,
        context_length_tokens=1024,
    ),
    "mini_device": ModelConfig(
        vocab_size=16_384, model_dim=512, ffn_dim=1728, num_layers=12, num_query_heads=8, num_kv_heads=4, head_dim=64,
        context_length_tokens=1024,
    ),
    # The published on-device shape (AXLearn "honeycrisp 3B") and its parent, whose ffn_dim follows from 6.4B.
    "device_3b": ModelConfig(
        vocab_size=49_152, model_dim=3072, ffn_dim=8064, num_layers=26, num_query_heads=24, num_kv_heads=8,
        head_dim=128, context_length_tokens=4096,
    ),
    "device_parent_6b": ModelConfig(
        vocab_size=49_152, model_dim=3072, ffn_dim=23_296, num_layers=26, num_query_heads=24, num_kv_heads=8,
        head_dim=128, context_length_tokens=4096,
    ),
    # The server's size was never published: a 70B-class model of the same recipe and the published vocabulary. Ours.
    "server_70b": ModelConfig(
        vocab_size=100_352, model_dim=8192, ffn_dim=28_672, num_layers=80, num_query_heads=64, num_kv_heads=8,
        head_dim=128, context_length_tokens=4096,
    ),
}  # fmt: skip


def named_size(name: str) -> ModelConfig:
    """Look a size up by name. Errors: `UserError` that lists the known names."""
    if name not in SIZES:
        raise UserError(f"unknown model size '{name}' (known: {', '.join(SIZES)})")
    return SIZES[name]

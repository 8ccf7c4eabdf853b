import pytest

from codling.model.config import ModelConfig
from codling.scale.workload import Workload

MODEL = ModelConfig(
    vocab_size=512, model_dim=64, ffn_dim=128, num_layers=3, num_query_heads=4, num_kv_heads=2, head_dim=16,
    context_length_tokens=128,
)  # fmt: skip


@pytest.fixture
def workload() -> Workload:
    """Compiles in seconds."""
    return Workload("small", MODEL, 16, 128, 1e9)

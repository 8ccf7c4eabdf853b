import dataclasses
from typing import Any

import pytest

from codling.config import from_dict, to_dict
from codling.errors import UserError
from codling.model.config import SIZES, ModelConfig, named_size


@pytest.mark.parametrize("name", SIZES)
def test_every_size_survives_being_written_and_read(name: str) -> None:
    assert from_dict(ModelConfig, to_dict(named_size(name)), source="test") == named_size(name)


@pytest.mark.parametrize(
    ("parent", "child"),
    [("quickstart_device_parent", "quickstart_device"), ("device_parent_6b", "device_3b")],
)
def test_a_parent_differs_from_its_child_in_the_width_that_pruning_reduces_only(parent: str, child: str) -> None:
    assert dataclasses.replace(named_size(parent), ffn_dim=named_size(child).ffn_dim) == named_size(child)
    assert named_size(parent).ffn_dim > named_size(child).ffn_dim


def test_server_and_device_share_a_tokenizer() -> None:
    assert named_size("quickstart_server").vocab_size == named_size("quickstart_device").vocab_size


def test_an_unknown_size_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"unknown model size 'huge' \(known: .*device_3b"):
        named_size("huge")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_query_heads": 5, "num_kv_heads": 2}, "num_query_heads 5"),
        ({"head_dim": 7}, "head_dim must be even for RoPE, got 7"),
        ({"vocab_size": 0}, "vocab_size must be positive, got 0"),
        ({"rope_theta": -1.0}, "rope_theta must be positive"),
        ({"num_layers": 2.5}, "num_layers"),
        ({"hidden_dim": 4}, "unknown key 'hidden_dim'"),
    ],
)
def test_bad_shapes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_dict(ModelConfig, to_dict(named_size("quickstart_device")) | changes, source="test")

"""What counts as a model that is gone through block by block."""

from typing import Any

from codling.artifact.block_files import BlockFiles
from codling.model.transformer import Transformer
from codling.ondevice.blocks import Blocks


def test_models_in_memory_and_on_disk_are_blocks(tiny_model: Transformer, pair: Any) -> None:
    assert isinstance(tiny_model, Blocks)
    assert isinstance(BlockFiles(pair.server), Blocks)
    assert not isinstance(tiny_model.blocks, Blocks)

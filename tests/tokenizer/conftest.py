"""One small tokenizer, trained once on the start of Lewis Carroll's Alice's Adventures in Wonderland."""

from pathlib import Path

import pytest

from codling.tokenizer.encode import Tokenizer
from codling.tokenizer.train import TokenizerConfig, train_tokenizer


@pytest.fixture(scope="session")
def alice() -> str:
    return (Path(__file__).parents[1] / "data" / "alice.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def tokenizer(alice: str) -> Tokenizer:
    return Tokenizer.from_bytes(train_tokenizer([alice], TokenizerConfig(vocab_size=600)))

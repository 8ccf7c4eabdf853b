from pathlib import Path
from typing import Any

import pytest

from codling.chat.decoder import Opened
from codling.chat.open_engine import open_on_engine
from codling.engine.sampling import Sampling
from codling.errors import UserError


def opened(path: Path, **options: Any) -> Opened:
    usual: dict[str, Any] = {
        "num_threads": 1,
        "kv_type": "int8",
        "rounds_activations": True,
        "draft": None,
        "speculate": "none",
    }
    return open_on_engine(path, None, Sampling(), **(usual | options))


@pytest.mark.parametrize("speculate", ["lookup", "draft"])
def test_speculation_changes_no_token_and_is_counted(pair: Any, speculate: str) -> None:
    prompt = [30, 40, 50] * 8
    plain = list(opened(pair.device).decoder.run(prompt, 20, ()))
    speculating = opened(pair.device, draft=pair.device if speculate == "draft" else None, speculate=speculate).decoder
    assert list(speculating.run(prompt, 20, ())) == plain
    proposed, accepted = speculating.proposals
    assert 0 <= accepted <= proposed
    # A model that drafts for itself is right.
    assert speculate == "lookup" or accepted > 10


def test_closing_in_the_middle_frees_the_session(pair: Any) -> None:
    decoder = opened(pair.device).decoder
    drawn = decoder.run([30, 40], 20, ())
    first = next(drawn)
    drawn.close()
    assert next(decoder.run([30, 40], 20, ())) == first


def test_how_it_runs_reaches_the_engine(pair: Any) -> None:
    with pytest.raises(UserError, match="0 threads"):
        opened(pair.device, num_threads=0)

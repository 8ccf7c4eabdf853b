"""The engine's bench with its real peers, on tiny shapes: `pytest -m live`.

Needs llama-cpp-python (`pip install llama-cpp-python`), and torch and transformers for the small model's other peer.
"""

from pathlib import Path
from typing import Any

import pytest

from codling.bench import engine_duel as module
from codling.bench.engine_duel import DUELS, GENERATION, measure_duels
from codling.bench.engine_files import llama_files
from codling.bench.engine_log import Key
from codling.bench.engine_ours import random_ids
from codling.bench.engine_small import SPEED, measure_small
from codling.errors import UserError
from tests.bench.engine_tiny import CONFIG, SHAPE, tiny_run

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("default")]

llama_cpp = pytest.importorskip("llama_cpp")
from codling.bench.engine_llama import LlamaSide, check_types  # noqa: E402


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return llama_files(tmp_path_factory.mktemp("files"), "tiny", SHAPE, ("F16", "Q4_0"), 1, lambda line: None)


def open_side(path: Path, **options: Any) -> LlamaSide:
    return LlamaSide(path, **{"num_threads": 1, "context_length_tokens": 128, **options})


def test_a_repeated_cache_begins_as_what_was_run_and_goes_on_behind_it(files: dict[str, Path]) -> None:
    ids = random_ids(40, SHAPE.vocab_size, seed=1)
    with open_side(files["F16"], context_length_tokens=256) as side:
        side.prompt(ids)
        assert side.num_tokens == 40
        expected = side.generate(40, 6)
        side.prompt(ids)
        side.repeat(3)
        assert side.num_tokens == 120
        assert len(side.generate(120, 6)) == 6
        assert side.num_tokens == 126
        assert side.generate(40, 6) == expected
    with open_side(files["F16"], context_length_tokens=256) as small:
        small.prompt(ids)
        with pytest.raises(UserError, match="no room for 400 tokens"):
            small.repeat(10)


def test_what_it_does_not_have_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no type of weights 'Q9_9'.*Q4_0"):
        check_types(["Q9_9"])
    with pytest.raises(UserError, match="no type of cache 'Q9_9'"):
        open_side(files["F16"], cache_type="Q9_9")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError, match="cannot read this file"):
        open_side(tmp_path / "broken.gguf")


def test_duels_with_short_and_long_contexts(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONG_CONTEXT_TOKENS", 30)
    said: list[str] = []
    run = tiny_run(tmp_path, said)
    run = run._replace(config=run.config._replace(contexts_tokens=(0, 20, 40, 60), threads=(2,)))
    measure_duels(run, DUELS, files)
    peers = [f"llama.cpp {name}" for name in files]
    assert {row.key.peer for row in run.log.rows} == set(peers)
    lengths = [row.key.size_tokens for row in run.log.rows if row.key[::3] == (GENERATION, peers[0])]
    assert lengths == [20, 0, 60, 40]
    assert all(len(row.ours) == len(row.theirs) == CONFIG.num_rounds for row in run.log.rows)
    # Both lengths that begin a stretch, once for both types.
    assert [line for line in said if "runs a prompt" in line] == [
        "llama.cpp runs a prompt of 20 tokens, once",
        "llama.cpp runs a prompt of 60 tokens, once",
    ]
    measure_duels(run, DUELS, dict.fromkeys(files, Path("never opened")))


def test_the_small_model_next_to_both(pair: Any, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("torch")
    run = tiny_run(tmp_path, [], small=pair.server, peers=("llama.cpp", "transformers"))
    run = run._replace(config=run.config._replace(threads=(1,), num_rounds=1))
    measure_small(run, [SPEED])
    names = ("llama.cpp F16", "llama.cpp Q8_0", "llama.cpp Q4_0", "transformers")
    assert [row.key for row in run.log.rows] == [Key(SPEED, 1, peer=name) for name in names]

"""The fuzzer over the loader: a short run, where clang is installed. `make fuzz` runs the long one."""

from pathlib import Path

import pytest

from codling.engine import _native
from tests.native.fuzz_seeds import write_seeds
from tests.native.programs import ROOT, build, find_tool, run

NUM_RUNS = 20_000


def test_what_the_fuzzer_begins_with_can_be_run(tmp_path: Path) -> None:
    write_seeds(tmp_path / "seeds")
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    for seed in (tmp_path / "seeds").iterdir():
        content = seed.read_bytes()
        end = 4 + int.from_bytes(content[:4], "little")
        config.write_bytes(content[4:end])
        weights.write_bytes(content[end:])
        _native.Model(str(config), str(weights), 1, "", True)


@pytest.mark.slow
def test_random_files_are_refused_or_run(tmp_path: Path) -> None:
    clang = find_tool("clang++-14", "clang-14 libclang-rt-14-dev")
    folder = build("fuzzer", f"-DCMAKE_CXX_COMPILER={clang}", "-DCODLING_SANITIZE=fuzzer-no-link,address,undefined")
    write_seeds(tmp_path / "seeds")
    words = f"-dict={ROOT / 'native' / 'tests' / 'fuzz_loader.dict'}"
    # What is found stays where the next run does not look.
    found = f"-artifact_prefix={tmp_path}/"
    said = run(
        [folder / "fuzz_loader", f"-runs={NUM_RUNS}", "-seed=1", "-max_len=16384", words, found, tmp_path / "seeds"]
    )
    assert f"Done {NUM_RUNS} runs" in said

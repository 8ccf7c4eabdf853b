from pathlib import Path

import pytest

from codling.artifact.gguf_file import gguf_names
from codling.bench import engine_files as module
from codling.bench.engine_files import forget_pages, llama_files
from codling.bench.engine_models import RandomWeights
from codling.bench.gguf_weights import read_gguf_weights
from tests.bench.engine_tiny import SHAPE


def test_files_are_made_once_and_the_dense_one_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def quantize(dense: Path, out: Path, type_name: str, num_threads: int) -> None:
        stored = read_gguf_weights(dense, SHAPE)
        weights = RandomWeights(SHAPE)
        assert set(gguf_names(SHAPE, stored)) == set(weights)
        for name, one in stored.items():
            assert abs(one.values - weights[name]).max() < 1e-2
        out.write_bytes(b"")
        made.append(type_name)

    monkeypatch.setattr(module, "quantize_file", quantize)
    monkeypatch.setattr(module, "check_types", lambda types: None)
    files = llama_files(tmp_path, "tiny", SHAPE, ["Q4_0", "Q8_0"], 1, lambda line: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny-Q4_0.gguf", "tiny-Q8_0.gguf"]
    assert llama_files(tmp_path, "tiny", SHAPE, ["Q4_0", "Q8_0"], 1, pytest.fail) == files
    assert made == ["Q4_0", "Q8_0"]
    files = llama_files(tmp_path, "tiny", SHAPE, ["F16"], 1, lambda line: None)
    assert files["F16"].stat().st_size > 100_000


def test_a_file_that_memory_forgot_reads_as_before(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(range(256)) * 1000)
    forget_pages(path)
    assert path.read_bytes() == bytes(range(256)) * 1000

"""Opening bundles: whole ones, damaged ones, and without JAX."""

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from codling.engine.engine import Engine
from codling.errors import UserError

PROMPT = [30, 40, 50, 60]


@pytest.fixture
def device(pair: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pair.device, tmp_path / "device"))


def change_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_bundle_runs_without_jax(pair: Any) -> None:
    probe = (
        "import sys; from pathlib import Path; from codling.engine.engine import Engine; "
        "print(list(Engine.open(Path(sys.argv[1])).session().run([30, 40], 3, ()))); assert 'jax' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", probe, pair.device], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == list(Engine.open(pair.device).session().run([30, 40], 3, ()))


def test_checksums_are_compared_on_request(device: Path) -> None:
    Engine.open(device, verify=True)
    weights = device / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match="manifest lists"):
        Engine.open(device, verify=True)


@pytest.mark.parametrize("name", ["manifest.json", "config.json", "model.safetensors", "tokenizer.model"])
def test_a_bundle_without_one_of_its_files_is_refused(device: Path, name: str) -> None:
    (device / name).unlink()
    with pytest.raises(UserError, match=name):
        Engine.open(device)


def test_another_tokenizer_is_refused(device: Path) -> None:
    change_json(device / "config.json", codling_tokenizer_sha256="0" * 64)
    with pytest.raises(UserError, match="tokenizer does not belong"):
        Engine.open(device)


def test_unknown_kernels_are_refused(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODLING_KERNELS", "abacus")
    with pytest.raises(UserError, match=r"'abacus'.*scalar"):
        Engine.open(device)


def test_no_threads_are_refused(device: Path) -> None:
    with pytest.raises(UserError, match="0 threads"):
        Engine.open(device, num_threads=0)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"model_type": "gemma"}, "gemma"),
        ({"tie_word_embeddings": False}, "untied"),
        ({"attention_bias": True}, "attention_bias"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "RoPE"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": 17}, "tensor"),
        ({"hidden_size": -1}, "hidden_size"),
        ({"num_key_value_heads": 3}, "multiple"),
        ({"head_dim": 7}, "even"),
        ({"num_hidden_layers": 3}, "layers.2"),
        ({"num_hidden_layers": 1}, "belongs to no part"),
        ({"rms_norm_eps": 0}, "rms_norm_eps"),
        ({"vocab_size": 1 << 40}, "vocab_size"),
    ],
)
def test_configs_that_cannot_be_run_are_refused(device: Path, values: dict[str, object], problem: str) -> None:
    change_json(device / "config.json", **values)
    with pytest.raises(UserError, match=problem):
        Engine.open(device)


def test_threads_share_an_engine(pair: Any) -> None:
    engine = Engine.open(pair.device, num_threads=2)
    prompts = [[20 + number, 30, 40 + number] for number in range(8)]
    expected = [list(engine.session().run(prompt, 10, ())) for prompt in prompts]
    found: dict[int, list[int]] = {}

    def run(number: int) -> None:
        found[number] = list(engine.session().run(prompts[number], 10, ()))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(8)] == expected

import json
import subprocess
import sys
from pathlib import Path

import pytest

from codling.bench.engine_process import main
from tests.bench.engine_tiny import tiny_run


def test_it_says_what_opening_and_running_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(tiny_run(tmp_path, []).bundle, 1, 10, 2)
    said = json.loads(capsys.readouterr().out)
    assert 0 < said["open_s"] < 60
    assert said["peak_bytes"] > 1e6


def test_it_imports_the_engine_alone() -> None:
    probe = "import sys; import codling.bench.engine_process; assert 'jax' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

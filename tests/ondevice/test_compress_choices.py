"""The choices are words that recipes and command lines have in common."""

import subprocess
import sys

from codling.config import from_dict, to_dict
from codling.ondevice.compress_blocks import CompressConfig
from codling.ondevice.compress_choices import SensitivityMethod


def test_a_choice_is_written_as_its_word_and_read_back() -> None:
    config = CompressConfig(sensitivity=SensitivityMethod.MEASURED)
    assert to_dict(config)["sensitivity"] == "measured"
    assert from_dict(CompressConfig, to_dict(config), source="x") == config


def test_they_cost_a_command_line_nothing() -> None:
    loaded = "import sys, codling.ondevice.compress_choices; print('numpy' in sys.modules or 'jax' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", loaded], text=True) == "False\n"

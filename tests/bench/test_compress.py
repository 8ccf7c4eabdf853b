"""The table of compression: every way of ours, others beside it, and what lies there is not made again."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from codling.bench import compress as module
from codling.bench.compress import CompressBenchConfig, CompressFigure, run_compress_bench
from codling.ondevice.compress_bundle import CalibrationConfig
from codling.show import show_compress_figures
from tests.bench.sample_figures import FIGURES

TEXT = Path(__file__).parents[1] / "data" / "alice.txt"
TARGET = 6.0
"""What a model sixteen wide can have: its tables take two bits a weight."""


@pytest.mark.slow
def test_ours_and_a_peer_and_nothing_is_made_twice(pair: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TARGETS_BITS", (TARGET,))
    monkeypatch.setattr(module, "STUDIED_BITS", TARGET)
    monkeypatch.setattr(module, "USUAL_BITS", TARGET)
    config = CompressBenchConfig(
        max_heldout_tokens=2048,
        calibration=CalibrationConfig(max_tokens=2048, row_length_tokens=64),
        recovery_steps=2,
        recovery_batch_rows=2,
    )
    said: list[str] = []

    def run() -> dict[str, CompressFigure]:
        said.clear()
        found = run_compress_bench(pair.server, TEXT, TEXT, tmp_path, ["nearest"], config=config, say=said.append)
        return {figure.name: figure for figure in found}

    monkeypatch.setattr(module, "RANKS", (2, 4, 8))
    first = run()
    assert first["uncompressed"].divergence.mean_nats == 0
    ours, recovered = first[f"codling {TARGET:g}"], first[f"codling {TARGET:g} + recovery"]
    assert ours.bits_per_weight_projections <= TARGET
    assert 0 < recovered.divergence.mean_nats < ours.divergence.mean_nats
    assert recovered.bits_per_weight_adapter > 0
    assert first[f"codling {TARGET:g} + recovery, rank 8, 5 times the steps"].bits_per_weight_adapter == pytest.approx(
        2 * recovered.bits_per_weight_adapter
    )
    assert ours.divergence.mean_nats < first[f"codling {TARGET:g}, nearest entries of k-means"].divergence.mean_nats
    assert any(name.startswith("round to nearest") for name in first)
    assert any("compressing" in line for line in said)
    assert run() == first
    assert not any("compressing" in line or "training" in line for line in said)


def test_the_table_shows_every_way() -> None:
    console = Console(record=True, width=160)
    show_compress_figures(FIGURES, console)
    shown = console.export_text()
    assert all(one.name in shown for one in FIGURES)
    assert "0.02000" in shown

from pathlib import Path

from codling.bench.engine_duel import DUELS, GENERATION, PROMPT, measure_duels
from codling.bench.engine_log import Key
from tests.bench.engine_tiny import CONFIG, tiny_run


def test_without_a_peer_ours_is_measured_alone(tmp_path: Path) -> None:
    said: list[str] = []
    run = tiny_run(tmp_path, said)
    measure_duels(run, DUELS, {})
    keys = [row.key for row in run.log.rows]
    assert keys == [
        key
        for num_threads in CONFIG.threads
        for key in (
            Key(PROMPT, num_threads, 8),
            Key("first-token", num_threads, 5),
            Key(GENERATION, num_threads, 20),
            Key(GENERATION, num_threads, 0),
        )
    ]
    assert all(len(row.ours) == CONFIG.num_rounds and not row.theirs for row in run.log.rows)
    units = {row.key.group: row.unit for row in run.log.rows}
    assert units == {PROMPT: "tokens/s", "first-token": "ms", GENERATION: "tokens/s"}


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, [])
    measure_duels(run, [PROMPT], {})
    assert {row.key.group for row in run.log.rows} == {PROMPT}

from pathlib import Path

import pytest

from codling.bench import engine_run
from codling.bench.engine_ours import OurSide, random_ids
from codling.engine.engine import Engine
from codling.engine.session import Session
from codling.engine.session_file import StoredSession
from tests.bench.engine_tiny import tiny_run


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("engine"), []).bundle


def test_contexts_are_kept_and_change_nothing(bundle: Path) -> None:
    side = OurSide(bundle, 1)
    first = side.generate(20, 4)
    assert len(first) == 4
    side.generate(0, 4)
    assert side.generate(20, 4) == first == OurSide(bundle, 2).generate(20, 4)


def test_a_long_context_is_made_of_repeats(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restored: list[list[int]] = []
    restore = Session.restore

    def noting(self: Session, path: Path, stored: StoredSession) -> None:
        restored.append(stored.ids.tolist())
        restore(self, path, stored)

    monkeypatch.setattr(engine_run, "REPEATED_TOKENS", 64)
    monkeypatch.setattr(Session, "restore", noting)
    side = OurSide(bundle, 1)
    assert len(side.generate(192, 4)) == 4
    side.generate(192, 4)
    assert restored == [3 * random_ids(64, side.vocab_size, 0)]


def test_every_prompt_is_a_new_one(bundle: Path) -> None:
    side = OurSide(bundle, 1)
    assert len({side.prompt(9) for _ in range(6)}) > 1


def test_sessions_run_together(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []
    session = Engine.session

    def asking(self: Engine, **options: object) -> object:
        asked.append(options["adapter"])  # type: ignore[arg-type]
        return session(self, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "session", asking)
    OurSide(bundle, 1).generate_together(["random0", "random1", "none"], 3)
    assert asked == ["random0", "random1", "none"]


def test_random_tokens_are_words() -> None:
    ids = random_ids(1000, 400, seed=1)
    assert ids == random_ids(1000, 400, seed=1) != random_ids(1000, 400, seed=2)
    assert min(ids) > 10
    assert max(ids) < 400

from pathlib import Path

from codling.artifact.workspace import Progress, Reporter, SilentReporter, Workspace


def test_a_workspace_reports_under_the_name_of_its_stage(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    class Recording(SilentReporter):
        def progress(self, name, total, start):  # type: ignore[no-untyped-def]
            seen.append((name, total, start))
            return super().progress(name, total, start)

    with Workspace("core", tmp_path, Recording()).progress(7, start=2) as progress:
        progress.update(3, loss=1.0)
    assert seen == [("core", 7, 2)]


def test_the_silent_reporter_is_a_reporter() -> None:
    assert isinstance(SilentReporter(), Reporter)
    with SilentReporter().progress("x", 1, 0) as progress:
        assert isinstance(progress, Progress)

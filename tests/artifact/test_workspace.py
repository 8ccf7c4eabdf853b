from pathlib import Path

from codling.artifact.workspace import Progress, Reporter, SilentReporter, Workspace


def test_a_workspace_reports_under_the_name_of_its_stage(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    warned: list[tuple[str, str]] = []

    class Recording(SilentReporter):
        def progress(self, name, total, start):  # type: ignore[no-untyped-def]
            seen.append((name, total, start))
            return super().progress(name, total, start)

        def warn(self, name: str, message: str) -> None:
            warned.append((name, message))

    workspace = Workspace("core", tmp_path, Recording())
    with workspace.progress(7, start=2) as progress:
        progress.update(3, loss=1.0)
    workspace.warn("checkpoint 3 is damaged")
    assert warned == [("core", "checkpoint 3 is damaged")]
    assert seen == [("core", 7, 2)]


def test_the_silent_reporter_is_a_reporter() -> None:
    assert isinstance(SilentReporter(), Reporter)
    SilentReporter().warn("x", "y")
    with SilentReporter().progress("x", 1, 0) as progress:
        assert isinstance(progress, Progress)

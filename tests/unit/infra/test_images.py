from __future__ import annotations

from pathlib import Path

import pytest

from infra.images import stage


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "application" / "__pycache__").mkdir(parents=True)
    (source / "tests").mkdir()
    for name in (
        "Dockerfile",
        "README.md",
        ".env",
        "application/main.py",
        "application/__pycache__/main.pyc",
        "tests/test_main.py",
    ):
        (source / name).write_text(name)
    return source


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_stages_what_the_image_needs_and_nothing_else(source: Path) -> None:
    staged = stage("weather", {".": source})
    assert files(staged) == {"Dockerfile", "application/main.py"}
    assert (staged / "application/main.py").read_text() == "application/main.py"


def test_modes_are_the_same_on_every_machine(source: Path) -> None:
    (source / "application").chmod(0o700)
    (source / "application/main.py").chmod(0o600)
    (source / "Dockerfile").chmod(0o777)

    staged = stage("weather", {".": source})

    modes = {
        str(path.relative_to(staged)): path.stat().st_mode & 0o777 for path in staged.rglob("*")
    }
    assert modes == {"Dockerfile": 0o644, "application": 0o755, "application/main.py": 0o644}


def test_a_removed_file_does_not_stay_behind(source: Path) -> None:
    stage("weather", {".": source})
    (source / "application/main.py").unlink()
    assert files(stage("weather", {".": source})) == {"Dockerfile"}


def test_puts_each_source_at_its_place(source: Path) -> None:
    staged = stage(
        "scheduler", {"scheduler": source, "extractor/__init__.py": source / "Dockerfile"}
    )
    assert files(staged) == {
        "scheduler/Dockerfile",
        "scheduler/application/main.py",
        "extractor/__init__.py",
    }

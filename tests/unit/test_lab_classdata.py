from pathlib import Path

import pytest

from failover.lab import classdata


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "LEFT"
    path.mkdir()
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "jars").mkdir()
    return tmp_path / "jars" / "broker.jsa"


def test_another_java_has_another_archive(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("one")
    before = classdata.archive_path(tmp_path, java, "broker")
    assert classdata.archive_path(tmp_path, java, "broker") == before
    java.write_text("another build")
    assert classdata.archive_path(tmp_path, java, "broker") != before
    assert classdata.archive_path(tmp_path, java, "mm2").name.startswith("mm2-")


def test_the_first_records_and_the_next_maps(home: Path, archive: Path) -> None:
    assert classdata.use(archive) == []
    assert f"-XX:ArchiveClassesAtExit={home / 'classes.jsa'}" in classdata.use_or_record(
        archive, home
    )
    assert classdata.records(home)
    (home / "classes.jsa").write_text("recorded")
    classdata.keep(home)
    assert archive.read_text() == "recorded"
    assert [path.name for path in archive.parent.iterdir()] == ["broker.jsa"]
    assert f"-XX:SharedArchiveFile={archive}" in classdata.use_or_record(archive, home)
    assert not classdata.records(home)


def test_an_archive_that_is_there_is_not_replaced(home: Path, archive: Path) -> None:
    classdata.use_or_record(archive, home)
    (home / "classes.jsa").write_text("late")
    archive.write_text("first")
    classdata.keep(home)
    assert archive.read_text() == "first"


def test_a_process_that_was_killed_recorded_nothing(home: Path, archive: Path) -> None:
    classdata.use_or_record(archive, home)
    classdata.keep(home)
    assert not archive.exists()


def test_a_cache_that_vanished_does_no_harm(home: Path, archive: Path) -> None:
    classdata.use_or_record(archive, home)
    (home / "classes.jsa").write_text("recorded")
    archive.parent.rmdir()
    classdata.keep(home)
    assert not archive.exists()

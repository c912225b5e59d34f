from pathlib import Path

import pytest

from clientlib.protocol.errors import ConfigurationError, RemoteError
from failover.lab import jars, requirements
from failover.lab.jars import POM


def _program(directory: Path, name: str, script: str) -> Path:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An otherwise empty PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ('Picked up options\nopenjdk version "25-ea" 2025-09-16', 25),
        ("command not found", None),
    ],
)
def test_java_version(output: str, version: int | None) -> None:
    assert requirements.java_version(output) == version


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("apt-get", "apt-get install openjdk-17-jre-headless maven"),
        ("dnf", "dnf install java-17-openjdk-headless maven"),
        ("apk", "apk add openjdk17-jre-headless maven"),
        ("brew", "brew install openjdk@17 maven"),
    ],
)
def test_hint_is_a_command(manager: str, command: str) -> None:
    hint = requirements.install_hint(java=True, maven=True, manager=manager)
    assert hint == f"Install with: {command}"


def test_hint_names_only_what_is_missing() -> None:
    hint = requirements.install_hint(maven=True, manager="apt-get")
    assert hint == "Install with: apt-get install maven"


def test_missing_java_and_maven_say_what_to_install(path_only: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Java 17 is missing. Install a Java 17 runtime"):
        requirements.java()
    with pytest.raises(ConfigurationError, match="Install a Java 17 runtime and Maven"):
        requirements.maven()


def test_old_java_is_refused_by_version(path_only: Path) -> None:
    _program(path_only, "java", """echo 'openjdk version "11.0.2"' >&2""")
    with pytest.raises(ConfigurationError, match="is Java 11, and Kafka 4 needs Java 17"):
        requirements.java()


def test_java_home_comes_first(
    path_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(path_only, "java", """echo 'openjdk version "11.0.2"' >&2""")
    home = tmp_path / "home" / "bin"
    home.mkdir(parents=True)
    mine = _program(home, "java", """echo 'openjdk version "17.0.1"' >&2""")
    monkeypatch.setenv("JAVA_HOME", str(home.parent))
    assert requirements.java() == str(mine)


def test_memory() -> None:
    requirements.check_memory(2, mm2=True, available_mb=None)
    requirements.check_memory(2, mm2=True, available_mb=4000)
    with pytest.raises(ConfigurationError, match=r"needs about 1450 MB.*and 1000 MB"):
        requirements.check_memory(2, mm2=True, available_mb=1000)


def test_available_memory() -> None:
    assert requirements.parse_available_mb("MemTotal: 9 kB\nMemAvailable:  2048000 kB\n") == 2000
    assert requirements.parse_available_mb("MemTotal: 9 kB\n") is None


def test_jars_are_kept_by_version_and_content(tmp_path: Path) -> None:
    pom = POM.read_text()
    assert jars.kafka_version(pom) == "4.3.1"
    place = jars.jars_directory(pom, tmp_path)
    assert place.name.startswith("jars-4.3.1-")
    assert place != jars.jars_directory(pom + " ", tmp_path)


@pytest.fixture
def cache(path_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAILOVER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_cached_jars_need_no_maven(cache: Path) -> None:
    place = jars.jars_directory(POM.read_text(), cache)
    place.mkdir(parents=True)
    assert jars.ensure_jars() == place


def test_jars_are_downloaded_once(cache: Path, path_only: Path) -> None:
    script = 'for a; do case "$a" in -DoutputDirectory=*) echo > "${a#*=}/kafka.jar";; esac; done'
    _program(path_only, "mvn", script)
    said: list[str] = []
    place = jars.ensure_jars(said.append)
    assert [path.name for path in place.iterdir()] == ["kafka.jar"]
    assert jars.ensure_jars(said.append) == place
    assert len(said) == 1


def test_a_failed_download_shows_mavens_words_and_leaves_nothing(
    cache: Path, path_only: Path
) -> None:
    _program(path_only, "mvn", "echo 'cannot resolve it'; exit 1")
    with pytest.raises(RemoteError, match="cannot resolve it"):
        jars.ensure_jars()
    assert [path.suffix for path in cache.iterdir()] == [".lock"]

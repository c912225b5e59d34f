"""Kafka's jars: resolved by Maven from our ``pom.xml``, once, into a cache of the user."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clientlib.protocol.errors import RemoteError
from failover.lab.requirements import maven

POM = Path(__file__).with_name("pom.xml")
_TIMEOUT_S = 900


def cache_directory() -> Path:
    """Return ``$FAILOVER_CACHE``, else the user's cache directory."""
    configured = os.environ.get("FAILOVER_CACHE")
    if configured:
        return Path(configured).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "kafka-failover"


def kafka_version(pom: str) -> str:
    """Return the version of Kafka that a ``pom.xml`` names."""
    found = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", pom)
    if found is None:
        raise ValueError("pom.xml has no <kafka.version>")
    return found[1]


def jars_directory(pom: str, cache: Path) -> Path:
    """Return where the jars of this very ``pom.xml`` belong: a changed one gets its own place."""
    digest = hashlib.sha256(pom.encode()).hexdigest()[:8]
    return cache / f"jars-{kafka_version(pom)}-{digest}"


def ensure_jars(say: Callable[[str], None] = lambda _: None) -> Path:
    """Return the directory of the jars, downloading them first if they are not in the cache.

    Two labs may do this at the same time: one downloads, the other waits and finds them.
    Raises ConfigurationError without Maven, RemoteError with Maven's output when it fails.
    """
    pom = POM.read_text(encoding="utf-8")
    jars = jars_directory(pom, cache_directory())
    if jars.is_dir():
        return jars
    command = maven()
    jars.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(jars.with_name(f"{jars.name}.lock")):
        if not jars.is_dir():
            say(f"downloading Apache Kafka {kafka_version(pom)} (about 55 MB, once)")
            _download(command, jars)
    return jars


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``; it is released when its holder ends, however it ends."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(command: str, jars: Path) -> None:
    staging = Path(tempfile.mkdtemp(prefix=f"{jars.name}.", dir=jars.parent))
    try:
        _run_maven(command, staging)
        staging.rename(jars)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _run_maven(command: str, target: Path) -> None:
    arguments = [
        "--batch-mode",
        "--no-transfer-progress",
        f"--file={POM}",
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={target}",
    ]
    try:
        answer = subprocess.run(
            [command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RemoteError(f"Maven did not end within {_TIMEOUT_S} s") from error
    if answer.returncode != 0:
        raise RemoteError(f"Maven could not download Apache Kafka:\n{answer.stdout.strip()}")

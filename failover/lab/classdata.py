"""Class data archives of the JVM: a third less work at each start of Kafka.

The first lab records one archive for brokers and one for MirrorMaker 2 when they end in good order;
later starts map them. They are kept beside the jars, by Java installation. A JVM that does not
accept an archive (other build, other jars) ignores it, so none can do harm.
"""

import hashlib
import shutil
from contextlib import suppress
from pathlib import Path

_ARCHIVE = "classes.jsa"
_TARGET = "classes.target"


def archive_path(jars: Path, java: Path, kind: str) -> Path:
    """Return where the archive of ``kind`` belongs for this Java installation."""
    binary = java.resolve()
    status = binary.stat()
    identity = f"{binary}:{status.st_size}:{status.st_mtime_ns}"
    return jars / f"{kind}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}.jsa"


def use(archive: Path) -> list[str]:
    """Return the JVM's arguments to map the archive, or nothing while there is none."""
    if not archive.exists():
        return []
    return [f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]


def use_or_record(archive: Path, home: Path) -> list[str]:
    """Return the JVM's arguments to map the archive, else to write it at an orderly end."""
    if archive.exists():
        (home / _TARGET).unlink(missing_ok=True)
        return use(archive)
    (home / _TARGET).write_text(str(archive), encoding="utf-8")
    return [f"-XX:ArchiveClassesAtExit={home / _ARCHIVE}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]


def records(home: Path) -> bool:
    """Whether the process of ``home`` was started to record, and its archive is still wanted."""
    target = _target(home)
    return target is not None and not target.exists()


def keep(home: Path) -> None:
    """Move what an ended process recorded to its place, in one step, unless one is there.

    A cache that cannot be written only costs the next start some time.
    """
    target, recorded = _target(home), home / _ARCHIVE
    if target is None or target.exists() or not recorded.exists():
        return
    staging = target.with_name(f"{target.name}.{home.stat().st_ino}")
    with suppress(OSError):
        shutil.move(recorded, staging)  # the cache may be on another file system
        staging.replace(target)


def _target(home: Path) -> Path | None:
    try:
        return Path((home / _TARGET).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None

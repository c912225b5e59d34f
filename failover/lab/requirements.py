"""What the lab needs of the machine, and what to install when it is missing."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from clientlib.protocol.errors import ConfigurationError

JAVA_MINIMUM = 17
_BROKER_MB = 450
_MM2_MB = 550
_INSTALL = {
    "apt-get": ("openjdk-17-jre-headless", "maven"),
    "dnf": ("java-17-openjdk-headless", "maven"),
    "apk": ("openjdk17-jre-headless", "maven"),
    "brew": ("openjdk@17", "maven"),
}


def java() -> str:
    """Return the path of a Java 17 or newer; raises ConfigurationError with what to install."""
    found = _java_path()
    if found is None:
        raise ConfigurationError(f"Java {JAVA_MINIMUM} is missing. {install_hint(java=True)}")
    answer = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    version = java_version(answer.stderr + answer.stdout)
    if version is None or version < JAVA_MINIMUM:
        raise ConfigurationError(
            f"{found} is Java {version or 'of unknown version'}, and Kafka 4 needs Java "
            f"{JAVA_MINIMUM} or newer. {install_hint(java=True)}"
        )
    return found


def maven() -> str:
    """Return the path of Maven; raises ConfigurationError with what to install."""
    found = shutil.which("mvn")
    if found is None:
        raise ConfigurationError(
            "Maven is missing; it is needed once, to download Kafka. "
            + install_hint(java=_java_path() is None, maven=True)
        )
    return found


def check_memory(brokers: int, *, mm2: bool, available_mb: int | None) -> None:
    """Raise ConfigurationError when the lab would not fit; ``None`` means that nobody knows."""
    needed = brokers * _BROKER_MB + (_MM2_MB if mm2 else 0)
    if available_mb is not None and available_mb < needed:
        raise ConfigurationError(
            f"the lab needs about {needed} MB of free memory, and {available_mb} MB are available"
        )


def available_memory_mb() -> int | None:
    """Return the memory that new processes can have, in MB; None where the system does not say."""
    try:
        return parse_available_mb(Path("/proc/meminfo").read_text(encoding="ascii"))
    except OSError:
        return None


def parse_available_mb(meminfo: str) -> int | None:
    """Return MemAvailable of Linux's ``/proc/meminfo`` in MB."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", meminfo, re.MULTILINE)
    return int(found[1]) // 1024 if found else None


def java_version(output: str) -> int | None:
    """Return the feature version in what ``java -version`` prints: 17, or 8 for ``1.8.0``."""
    found = re.search(r'version "(?:1\.)?(\d+)', output)
    return int(found[1]) if found else None


def install_hint(*, java: bool = False, maven: bool = False, manager: str | None = None) -> str:
    """Return the command that installs what is missing with this system's package manager."""
    manager = manager or next((name for name in _INSTALL if shutil.which(name)), None)
    if manager is None:
        wanted = [name for name, want in (("a Java 17 runtime", java), ("Maven", maven)) if want]
        return f"Install {' and '.join(wanted)} and put it on PATH."
    packages = [name for name, want in zip(_INSTALL[manager], (java, maven), strict=True) if want]
    verb = "add" if manager == "apk" else "install"
    return f"Install with: {manager} {verb} {' '.join(packages)}"


def _java_path() -> str | None:
    home = os.environ.get("JAVA_HOME")
    if home and (Path(home) / "bin" / "java").is_file():
        return str(Path(home) / "bin" / "java")
    return shutil.which("java")

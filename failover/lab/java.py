"""Command lines of the lab's Java processes."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from clientlib.protocol.errors import RemoteError
from failover.lab import classdata

_LOGGING = Path(__file__).with_name("log4j2.properties")
_LEVEL = "FAILOVER_LAB_LOG"
_BROKER_HEAP = "-Xmx384m"
_MM2_HEAP = "-Xmx384m"


@dataclass(frozen=True, slots=True)
class Java:
    """How to run a class of Kafka's: the executable, the jars, and the lab's mark."""

    executable: str
    jars: Path
    mark: str

    def broker(self, home: Path) -> list[str]:
        """Return the command of a broker whose ``server.properties`` is in ``home``."""
        sharing = classdata.use_or_record(self._archive("broker"), home)
        properties = str(home / "server.properties")
        return self._command(home, *sharing, _BROKER_HEAP, "kafka.Kafka", properties)

    def mm2(self, home: Path, properties: Path) -> list[str]:
        """Return the command of a dedicated MirrorMaker 2."""
        home.mkdir(parents=True, exist_ok=True)
        sharing = classdata.use_or_record(self._archive("mm2"), home)
        main = "org.apache.kafka.connect.mirror.MirrorMaker"
        return self._command(home, *sharing, _MM2_HEAP, main, str(properties))

    def _archive(self, kind: str) -> Path:
        return classdata.archive_path(self.jars, Path(self.executable), kind)

    def env(self) -> dict[str, str]:
        """Return the environment, without options that a user set for other Java programs."""
        unwanted = {"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH"}
        return {key: value for key, value in os.environ.items() if key not in unwanted}

    def format_storage(self, properties: Path, cluster_id: str, data: Path) -> None:
        """Format a broker's storage once; a restart finds ``meta.properties`` and skips it."""
        if (data / "meta.properties").exists():
            return
        arguments = ["format", "-t", cluster_id, "-c", str(properties)]
        self.tool(properties.parent, "kafka.tools.StorageTool", *arguments)

    def tool(self, home: Path, main: str, *arguments: str) -> str:
        """Run one of Kafka's tools to its end and return what it prints.

        Raises RemoteError with all of its output when it fails.
        """
        quick = [*classdata.use(self._archive("broker")), "-Xmx128m"]
        answer = subprocess.run(
            self._command(home, *quick, main, *arguments),
            capture_output=True,
            text=True,
            env=self.env(),
            timeout=60,
            check=False,
        )
        if answer.returncode != 0:
            raise RemoteError(f"Kafka's {main} failed:\n{answer.stdout}{answer.stderr}")
        return answer.stdout

    def _command(self, home: Path, *rest: str) -> list[str]:
        temporary = home / "tmp"  # unpacked native libraries must go with the lab
        temporary.mkdir(parents=True, exist_ok=True)
        return [
            self.executable,
            self.mark,
            "-XX:+UseG1GC",
            "-XX:MaxGCPauseMillis=20",
            "-XX:TieredStopAtLevel=1",  # starts in half the time, with half the work
            "-XX:-UsePerfData",
            "-Djava.awt.headless=true",
            f"-Djava.io.tmpdir={temporary}",
            f"-Dlog4j2.configurationFile={_LOGGING}",
            f"-Dfailover.lab.log={os.environ.get(_LEVEL, 'warn')}",
            "-cp",
            f"{self.jars}/*",
            *rest,
        ]

"""Histories on disk: every process appends to a file of its own, the checker merges them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from clientlib.protocol.errors import RecordFormatError
from failover.checkers import Event, History, decode, encode


class HistoryWriter:
    """Appends events to a file, a line each, handed to the kernel at once.

    So nothing written is lost by kill -9 of the process. A torn last line of an earlier process is
    cut off first. One writer per file, used by one thread at a time or under the caller's lock.
    """

    def __init__(self, path: Path) -> None:
        _cut_torn_line(path)
        self._file = path.open("a", buffering=1, encoding="utf-8")

    def write(self, event: Event) -> None:
        """Append one event."""
        self._file.write(encode(event) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def read_history(paths: Iterable[Path]) -> History:
    """Merge the files of all processes into one history.

    A last line without its newline was torn by kill -9 and is ignored; any other line that is no
    event raises RecordFormatError with its file and number.
    """
    return History.of(event for path in paths for event in _events(path))


def _events(path: Path) -> Iterator[Event]:
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith("\n"):
                return
            try:
                event = decode(line)
            except RecordFormatError as error:
                raise RecordFormatError(f"{path}, line {number}: {error}") from error
            yield event

"""What the members are assigned: exactly what the application has been given to read."""

from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import OFFSET_END, TopicPartition

from clientlib.core.tracker import Span
from clientlib.io.commits import PhysicalKey, Track
from clientlib.io.ports import MemberPort
from clientlib.protocol.types import ClusterAlias


class Assignment:
    """The assignments of one consumer's members. ``tracks`` is shared with the runtime.

    ``busy`` says whether a member's handle cannot be used now; ``incremental`` is true for
    cooperative protocols.
    """

    def __init__(
        self,
        tracks: Mapping[PhysicalKey, Track],
        members: Mapping[ClusterAlias, MemberPort],
        *,
        busy: Callable[[ClusterAlias], bool],
        incremental: bool,
    ) -> None:
        self._tracks, self._members = tracks, members
        self._busy, self._incremental = busy, incremental
        self._assigned: dict[ClusterAlias, dict[PhysicalKey, Span]] = {a: {} for a in members}
        self._behind: set[ClusterAlias] = set()
        """Where what the member reads is not yet what the application has been given."""
        self._paused: set[PhysicalKey] = set()
        self._asked: dict[PhysicalKey, tuple[int, int]] = {}
        """Where the application wants to begin, and what came next when it said so."""

    def catch_up(self) -> None:
        """Apply what could not be applied before."""
        for cluster in tuple(self._behind):
            self.apply(cluster)

    def apply(self, cluster: ClusterAlias) -> None:
        """Make the member read exactly what the application has been given."""
        if self._busy(cluster):
            self._behind.add(cluster)  # nobody can use its handle now, nor poll what it reads
            return
        self._behind.discard(cluster)
        wanted = {key: t.span for key, t in self._tracks.items() if t.cluster == cluster}
        before = self._assigned[cluster]
        removed = [key for key, span in before.items() if wanted.get(key) is not span]
        added = [key for key, span in wanted.items() if before.get(key) is not span]
        if not removed and not added:
            return
        member = self._members[cluster]
        self._assigned[cluster] = wanted
        if self._incremental:
            if removed:
                member.incremental_unassign([TopicPartition(*key) for key in removed])
            if added:
                member.incremental_assign([self._begin(key, wanted[key]) for key in added])
        else:
            member.assign([self._begin(key, span) for key, span in wanted.items()])
            paused = [TopicPartition(*key) for key in self._paused if key in wanted]
            if paused:
                member.pause(paused)
        # librdkafka remembers the pause of a partition that it was assigned long ago
        going = [TopicPartition(*key) for key in added if key not in self._paused]
        if going:
            member.resume(going)

    def _begin(self, key: PhysicalKey, span: Span) -> TopicPartition:
        """Return where to begin: where the application wants to, while it has read nothing."""
        asked, at = self._asked.get(key, (span.next, span.next))
        if asked == OFFSET_END:
            del self._asked[key]  # later the end is another one
        return TopicPartition(*key, asked if span.next == at else span.next)

    def begin_at(self, key: PhysicalKey, offset: int, span: Span) -> None:
        """Begin at a place that only the log knows: its beginning, its end."""
        self._asked[key] = offset, span.next

    def hold(self, cluster: ClusterAlias) -> None:
        """The member owns partitions; it fetches nothing of them yet."""
        member = self._members[cluster]
        if self._incremental:
            member.incremental_assign([])
        else:
            member.assign([])
            self._assigned[cluster] = {}

    def give_back(self, cluster: ClusterAlias) -> None:
        """Have the member read no longer what the application was given there and is not now."""
        member = self._members[cluster]
        if self._incremental:
            wanted = {key for key, track in self._tracks.items() if track.cluster == cluster}
            removed = [key for key in self._assigned[cluster] if key not in wanted]
            for key in removed:
                del self._assigned[cluster][key]
            member.incremental_unassign([TopicPartition(*key) for key in removed])
        else:
            self._assigned[cluster] = {}
            member.unassign()

    def lost(self, cluster: ClusterAlias) -> None:
        """The member is gone, and all that it read."""
        self._assigned[cluster] = {}
        self._behind.discard(cluster)

    def forget(self, key: PhysicalKey) -> None:
        """The application does not read it any more."""
        self._paused.discard(key)
        self._asked.pop(key, None)

    def pause(self, keys: Iterable[PhysicalKey]) -> None:
        """Stop delivering some partitions; survives our own reassignments."""
        self._paused.update(keys)

    def resume(self, keys: Iterable[PhysicalKey]) -> None:
        """Deliver some partitions again."""
        self._paused.difference_update(keys)

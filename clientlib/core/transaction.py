"""One transaction of a producer that may have to change its cluster: what is allowed when.

    IDLE --initialised--> READY --begin--> BEGUN --bound--> OPEN --commit--> COMMITTING
                            ^                |               |              |      |
                            |<-----abort-----'          shut, lost        lost     |
                            |                                v              v      v
                            |<-------------abort--------- DOOMED     CARRIED --> COMMITTED
                            `-----------------------commit asked again---------------'

BEGUN stands at no cluster yet: writes are closed, and its records wait in the producer. Of a
transaction that is OPEN when writes close nothing may stay (DOOMED): the application is told to
abort it. A commit that is under way is completed; when its cluster is lost nobody knows whether it
was taken, and its records are CARRIED to the next cluster, which then commits them.

No I/O, no clock. Methods raise `Refused`; the shell turns it into Kafka's own error.
"""

from enum import StrEnum

from clientlib.protocol.types import ClusterAlias


class Stage(StrEnum):
    """Where a transaction is; see the drawing at the top."""

    IDLE = "before init_transactions"
    READY = "ready"
    BEGUN = "begun, at no cluster yet"
    OPEN = "in transaction"
    COMMITTING = "committing"
    COMMITTED = "committed"
    CARRIED = "committing on another cluster"
    DOOMED = "to be aborted"


class Why(StrEnum):
    """What an application can do about a refusal."""

    MISUSE = "misuse"
    CONFLICT = "conflict"
    MUST_ABORT = "must abort"


class Refused(Exception):  # noqa: N818 - an answer, which never reaches an application
    """A call that is not allowed now."""

    def __init__(self, why: Why, reason: str) -> None:
        super().__init__(reason)
        self.why, self.reason = why, reason


class Next(StrEnum):
    """What the caller of commit or abort does next."""

    ASK = "ask the cluster"
    WAIT = "wait"
    DONE = "return"


class Transaction:
    """The stage of a producer's transaction, and whether its cluster still holds it open."""

    def __init__(self) -> None:
        self.stage = Stage.IDLE
        self.cluster: ClusterAlias = ""
        self.why_doomed = ""
        self._held = False

    @property
    def owes_abort(self) -> bool:
        """Say whether a doomed transaction is still open at its cluster."""
        return self.stage is Stage.DOOMED and self._held

    @property
    def settled(self) -> bool:
        """Say whether nothing of it is open at any cluster."""
        return not self._held

    def initialised(self) -> None:
        """``init_transactions`` was called; refused a second time, as by Kafka's client."""
        self._require(Stage.IDLE)
        self.stage = Stage.READY

    def begin(self) -> None:
        """The application begins one."""
        if self.stage is Stage.COMMITTED:  # nobody asked again how a commit has ended
            self.stage = Stage.READY
        self._check_doom()
        self._check_conflict()
        self._require(Stage.READY)
        self.stage = Stage.BEGUN

    def bound(self, cluster: ClusterAlias) -> None:
        """It was begun at a cluster."""
        self._require(Stage.BEGUN)
        self.stage, self.cluster, self._held = Stage.OPEN, cluster, True

    def check_produce(self) -> None:
        """Refuse a record unless a transaction takes it."""
        self._check_doom()
        self._require(Stage.BEGUN, Stage.OPEN)

    def shut(self, why: str) -> bool:
        """Writes are closed: doom what is open. True if so."""
        if self.stage is not Stage.OPEN:
            return False
        self.stage, self.why_doomed = Stage.DOOMED, why
        return True

    def commit(self, *, handed_over: bool) -> Next:
        """The application commits, or asks again. ``handed_over``: no record waits any more."""
        self._check_doom()
        if self.stage is Stage.COMMITTED:
            self.stage = Stage.READY
            return Next.DONE
        if self.stage is Stage.OPEN and handed_over:
            self.stage = Stage.COMMITTING
        if self.stage is Stage.COMMITTING:
            return Next.ASK
        self._require(Stage.BEGUN, Stage.OPEN, Stage.CARRIED)
        return Next.WAIT

    def committed(self) -> None:
        """A cluster has taken the commit."""
        if self.stage in {Stage.COMMITTING, Stage.CARRIED}:
            self.stage, self._held = Stage.COMMITTED, False

    def failed(self, why: str) -> None:
        """The cluster has refused the commit: the transaction must be aborted."""
        self.stage, self.why_doomed = Stage.DOOMED, why

    def abort(self) -> Next:
        """The application aborts, or asks again."""
        self._check_conflict()
        if self.stage is Stage.OPEN:
            self.failed("it is being aborted")
        self._require(Stage.BEGUN, Stage.DOOMED)
        if self.owes_abort:
            return Next.ASK
        self.stage = Stage.READY
        return Next.DONE

    def aborted(self) -> None:
        """The cluster holds it open no more."""
        self._held = False

    def lost(self, why: str) -> bool:
        """Its cluster was given up. True if its records are to be written on another one."""
        self._held = False
        self.shut(why)
        if self.stage is Stage.COMMITTING:
            self.stage = Stage.CARRIED
        return self.stage is Stage.CARRIED

    def _check_doom(self) -> None:
        if self.stage is Stage.DOOMED:
            raise Refused(Why.MUST_ABORT, f"{self.why_doomed}: the transaction must be aborted")

    def _check_conflict(self) -> None:
        if self.stage in {Stage.COMMITTING, Stage.CARRIED}:
            raise Refused(Why.CONFLICT, "a commit_transaction call is under way: call it again")

    def _require(self, *stages: Stage) -> None:
        if self.stage not in stages:
            raise Refused(Why.MISUSE, f"operation not valid now ({self.stage})")

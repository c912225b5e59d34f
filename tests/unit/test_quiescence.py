"""For which producers a switch waits, by what they say on both sides."""

import pytest

from clientlib.protocol.clients import Client, Registration, Role, Seen
from failover.core.quiescence import quiescence

CLOSING = (1, 4)
NOW = 100_000
FRESH, STALE = NOW - 3_000, NOW - 11_000


def told(
    renewed_ms: int, *, quiet: bool = False, revision: int = 4, role: Role = Role.PRODUCER
) -> Registration:
    client = Client("p", role, "s", seen=Seen(1, revision), quiesced=quiet)
    return Registration(client, renewed_ms)


@pytest.mark.parametrize(
    ("source", "target", "writing", "gone"),
    [
        pytest.param(told(FRESH), None, 1, 0, id="it writes"),
        pytest.param(told(FRESH, quiet=True), None, 0, 0, id="it is quiet"),
        pytest.param(told(FRESH, quiet=True, revision=3), None, 1, 0, id="quiet before it closed"),
        pytest.param(told(FRESH, quiet=True, revision=5), None, 0, 0, id="it has seen later ones"),
        pytest.param(told(STALE), None, 0, 1, id="it is gone"),
        pytest.param(told(STALE), told(STALE), 0, 1, id="it is gone on both"),
        pytest.param(told(STALE), told(FRESH), 1, 0, id="the source was away, and it lives"),
        pytest.param(None, told(FRESH), 1, 0, id="the source has forgotten it"),
        pytest.param(told(STALE), told(FRESH, quiet=True), 0, 0, id="quiet, it says elsewhere"),
        pytest.param(told(FRESH), told(FRESH, quiet=True), 0, 0, id="said on one side so far"),
        pytest.param(told(FRESH, role=Role.CONSUMER), None, 0, 0, id="a consumer writes nothing"),
    ],
)
def test_who_is_waited_for(
    source: Registration | None, target: Registration | None, writing: int, gone: int
) -> None:
    clusters = [{"p": one} if one is not None else {} for one in (source, target)]
    found = quiescence(clusters, CLOSING, NOW)
    assert (len(found.writing), len(found.gone)) == (writing, gone)


@pytest.mark.parametrize(("replayed", "writing"), [(1, 1), (2, 0), (3, 0)])
def test_who_has_yet_to_write_again_is_not_quiet(replayed: int, writing: int) -> None:
    """It holds what the epoch began without: behind its end it would come twice, or never."""
    client = Client("p", Role.PRODUCER, "s", seen=Seen(2, 4), quiesced=True, replayed=replayed)
    found = quiescence([{"p": Registration(client, FRESH)}], (2, 4), NOW, 2)
    assert len(found.writing) == writing

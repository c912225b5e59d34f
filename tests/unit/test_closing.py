"""The end of a client while a cluster is dead."""

import threading

import pytest

from clientlib.io.kafka import close_within


class Handle:
    """A confluent-kafka handle that closes when its cluster answers."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.closed = threading.Event()

    def close(self) -> None:
        """Leave the group."""
        self.answers.wait(60)
        self.closed.set()


def test_commits_on_their_way_to_a_dead_cluster_do_not_hold_up_the_end_of_a_consumer() -> None:
    """Seen for a member that commits every record: its process did not end within 45 s."""
    handle = Handle()
    assert not close_within(handle, 0.01)
    handle.answers.set()
    assert handle.closed.wait(10), "it goes on by itself"


def test_what_a_callback_raises_while_its_handle_closes_is_raised_where_it_is_waited_for() -> None:
    class Raises:
        def close(self) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        close_within(Raises(), 60)


def test_a_standby_that_answers_is_left_in_good_order() -> None:
    handle = Handle()
    handle.answers.set()
    assert close_within(handle, 60)
    assert handle.closed.is_set()

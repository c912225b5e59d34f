"""Tokens in commit metadata."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clientlib.protocol.errors import ConfigurationError
from clientlib.protocol.token import CommitMetadata, Token, decode, encode


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("fo1;3;RIGHT|", CommitMetadata(Token(3, "RIGHT"), "")),
        ("fo1;3;RIGHT|mine", CommitMetadata(Token(3, "RIGHT"), "mine")),
        ("fo1;3;RIGHT|\x00", CommitMetadata(Token(3, "RIGHT"), "")),
        ("fo1;3;RIGHT;at=7;x=y|a|b", CommitMetadata(Token(3, "RIGHT"), "a|b")),
        ("fo1;3;RIGHT;o=505|a", CommitMetadata(Token(3, "RIGHT"), "a", 505)),
        ("fo1;3;RIGHT;o=x|a", CommitMetadata(Token(3, "RIGHT"), "a", None)),
        (None, CommitMetadata(None, "")),
        ("", CommitMetadata(None, "")),
        ("the application's own", CommitMetadata(None, "the application's own")),
        ("fo1;x;RIGHT|", CommitMetadata(None, "fo1;x;RIGHT|")),
        ("fo1;3;|", CommitMetadata(None, "fo1;3;|")),
        ("fo1;3;RIGHT", CommitMetadata(None, "fo1;3;RIGHT")),
        ("fo2;3;RIGHT|", CommitMetadata(None, "fo2;3;RIGHT|")),
        ("fo1;٣;RIGHT|", CommitMetadata(None, "fo1;٣;RIGHT|")),
    ],
)
def test_decode(metadata: str | None, expected: CommitMetadata) -> None:
    assert decode(metadata) == expected


@given(st.integers(0, 10**9), st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True), st.text())
def test_round_trip_through_a_broker_that_adds_a_nul(epoch: int, alias: str, user: str) -> None:
    found = decode(encode(Token(epoch, alias), user) + "\x00")
    assert found.token == Token(epoch, alias)
    assert found.user == user.rstrip("\x00")


@pytest.mark.parametrize("alias", ["A;B", "A|B", "A=B"])
def test_an_alias_that_would_break_the_format_is_refused(alias: str) -> None:
    with pytest.raises(ConfigurationError):
        encode(Token(1, alias))


def test_a_position_beyond_the_copy_travels_with_the_token() -> None:
    assert decode(encode(Token(2, "RIGHT"), "mine", beyond=0)).beyond == 0


def test_a_token_stays_small() -> None:
    assert len(encode(Token(10**9, "A" * 64), beyond=10**18)) < 200

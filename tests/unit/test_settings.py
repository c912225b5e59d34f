"""failover.yaml."""

from pathlib import Path
from typing import Any

import pytest

from clientlib.protocol.errors import ConfigurationError
from clientlib.settings import load, parse, redacted

GOOD: dict[str, Any] = {
    "clusters": {
        "LEFT": {"bootstrap.servers": "left:9092", "sasl.password": "${PW}"},
        "RIGHT": {"bootstrap.servers": "right:9092", "connect": {"url": "http://c:8083"}},
    },
    "flows": ["LEFT->RIGHT"],
    "scopes": {"default": {"topics": ["T.*"]}},
}


def test_what_is_written_is_read() -> None:
    found = parse(GOOD, environ={"PW": "secret"})
    assert found.aliases == ("LEFT", "RIGHT")
    assert found.cluster("LEFT").client["sasl.password"] == "secret"
    assert found.cluster("RIGHT").connect_url == "http://c:8083"
    assert found.flows == (("LEFT", "RIGHT"),)
    assert found.scope("default").has_topic("T1")
    assert not found.scope("default").has_topic("X")
    assert "secret" not in repr(found)


def test_secrets_are_redacted() -> None:
    assert redacted({"sasl.password": "x", "ssl.key.pem": "y", "a": 1}) == {
        "sasl.password": "***",
        "ssl.key.pem": "***",
        "a": 1,
    }


def test_flows_default_to_all_pairs() -> None:
    body = {key: value for key, value in GOOD.items() if key != "flows"}
    assert parse(body, environ={"PW": ""}).flows == (("LEFT", "RIGHT"), ("RIGHT", "LEFT"))


def changed(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "must be a mapping"),
        (changed(cluster={}), "did you mean 'clusters'"),
        (changed(clusters=None), "clusters must be a mapping"),
        (changed(clusters={"A": {"bootstrap.servers": "x"}}), "at least two"),
        (changed(clusters={"A.B": {"bootstrap.servers": "x"}}), "letters, digits"),
        (changed(clusters={"A": {}, "B": {}}), "needs bootstrap.servers"),
        (changed(flows=["LEFT->RIHGT"]), "did you mean 'RIGHT'"),
        (changed(flows=["LEFT"]), "not SOURCE->TARGET"),
        (changed(replication={"policy": "identity"}), "only the default policy"),
        (changed(replication={"seperator": "."}), "did you mean 'separator'"),
        (changed(scopes={}), "at least one"),
        (changed(scopes={"s": {"topic": []}}), "did you mean 'topics'"),
        (changed(scopes={"s": {"topics": ["("]}}), "not a regular expression"),
        (changed(scopes={"s": {"ordering": "none"}}), "only 'strict'"),
        (changed(control={"state_partitions": "many"}), "control"),
    ],
)
def test_mistakes_are_named(body: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match="(?s)^somewhere.*" + says.replace("(", r"\(")):
        parse(body, origin="somewhere", environ={"PW": "x"})


def test_an_unset_variable_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="PW"):
        parse(GOOD, environ={})
    body = changed(clusters={"A": {"bootstrap.servers": "${file:/nowhere}"}, "B": {}})
    with pytest.raises(ConfigurationError, match="/nowhere"):
        parse(body, environ={"PW": ""})
    with pytest.raises(ConfigurationError, match="cannot read"):
        load(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("clusters: [")
    with pytest.raises(ConfigurationError, match="not YAML"):
        load(bad)


def test_suggestions_for_aliases_and_scopes() -> None:
    found = parse(GOOD, environ={"PW": "x"})
    with pytest.raises(ConfigurationError, match="did you mean 'RIGHT'"):
        found.cluster("RIGTH")
    with pytest.raises(ConfigurationError, match="did you mean 'default'"):
        found.scope("defualt")

import json

import pytest
import yaml
from jproperties import Properties

from clientlib.protocol.errors import ConfigurationError
from failover.lab import settings
from failover.lab.settings import Broker, Layout

LEFT = Broker("LEFT", "id-left", 20001, 20002)
RIGHT = Broker("RIGHT", "id-right", 20003, 20004)
THIRD = Broker("THIRD", "id-third", 20005, 20006)
PAIR = Layout((LEFT, RIGHT))


def _parse(text: str) -> dict[str, str]:
    properties = Properties()
    properties.load(text)
    return dict(properties.properties)


def test_layout_survives_lab_json() -> None:
    layout = Layout((LEFT, RIGHT), mm2=True, broker_overrides={"a": "1"}, mm2_overrides={"b": "2"})
    assert settings.load_layout(settings.dump_layout(layout)) == layout


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "brokers": [{}]}']
)
def test_a_wrong_lab_json_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"lab\.json"):
        settings.load_layout(text)


@pytest.mark.parametrize(
    ("aliases", "mm2", "complaint"),
    [
        (("LEFT", "LEFT"), True, "must differ"),
        (("LEFT", "left"), True, "must differ"),
        (("LEFT",), True, "two clusters or more"),
        ((), False, "two clusters or more"),
        (("LEFT", "mm2"), True, "'mm2' is no cluster alias"),
        (("LEFT", "a b"), True, "'a b' is no cluster alias"),
        (("LEFT", ""), True, "'' is no cluster alias"),
        (("LEFT", "../x"), True, "no cluster alias"),
    ],
)
def test_aliases_that_cannot_be(aliases: tuple[str, ...], mm2: bool, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        settings.check_aliases(aliases, mm2=mm2)


@pytest.mark.parametrize(
    ("aliases", "mm2"), [(("LEFT", "RIGHT"), True), (("A", "B-1", "c_2"), True), (("ONE",), False)]
)
def test_aliases_that_can_be(aliases: tuple[str, ...], mm2: bool) -> None:
    settings.check_aliases(aliases, mm2=mm2)


def test_flows_are_every_directed_pair() -> None:
    assert PAIR.flows == (("LEFT", "RIGHT"), ("RIGHT", "LEFT"))
    assert len(Layout((LEFT, RIGHT, THIRD)).flows) == 6
    assert Layout((LEFT, RIGHT), mm2=False).flows == ()


def test_an_unknown_alias_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="'MIDDLE'; it has LEFT, RIGHT"):
        PAIR.broker("MIDDLE")


def test_broker_settings_fit_one_broker_and_yield_to_overrides() -> None:
    values = settings.broker_settings(LEFT, "/data", {"log.retention.ms": "1000"})
    factors = {v for k, v in values.items() if k.endswith(("replication.factor", "min.isr"))}
    assert factors == {"1"}
    assert values["listeners"] == "PLAINTEXT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002"
    assert values["controller.quorum.voters"] == "1@127.0.0.1:20002"
    assert values["log.dirs"] == "/data"
    assert values["log.retention.ms"] == "1000"


def test_mm2_settings_name_every_cluster_and_flow() -> None:
    layout = Layout((LEFT, RIGHT), mm2_overrides={"groups": "mine", "tasks.max": "2"})
    values = settings.mm2_settings(layout)
    assert values["clusters"] == "LEFT, RIGHT"
    assert values["RIGHT.bootstrap.servers"] == "127.0.0.1:20003"
    assert values["LEFT->RIGHT.enabled"] == values["RIGHT->LEFT.enabled"] == "true"
    assert values["sync.group.offsets.enabled"] == values["sync.topic.acls.enabled"] == "false"
    assert (values["groups"], values["tasks.max"]) == ("mine", "2")


def test_properties_are_read_back_as_they_were() -> None:
    values = settings.mm2_settings(PAIR) | {"a key:with=marks": "back\\slash\nline = : #"}
    assert _parse(settings.render_properties(values)) == values


def test_failover_yaml_is_what_the_design_says() -> None:
    assert yaml.safe_load(settings.render_failover_yaml(PAIR)) == {
        "clusters": {
            "LEFT": {"bootstrap.servers": "127.0.0.1:20001"},
            "RIGHT": {"bootstrap.servers": "127.0.0.1:20003"},
        },
        "flows": ["LEFT->RIGHT", "RIGHT->LEFT"],
        "replication": {"policy": "default", "separator": "."},
        "scopes": {"default": {"topics": [".*"], "groups": [".*"], "ordering": "strict"}},
    }


def test_lab_json_is_plain_json() -> None:
    assert json.loads(settings.dump_layout(PAIR))["brokers"][0]["alias"] == "LEFT"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"\x00" * 16, "A" * 22),
        (b"\xf8" + b"\x00" * 15, "AAAAAAAAAAAAAAAAAAAAAA"),  # would be "-AAA..."
        (b"\xff" * 16, "_____________________w"),
    ],
)
def test_a_cluster_id_never_looks_like_an_option(raw: bytes, expected: str) -> None:
    assert settings.cluster_id(raw) == expected

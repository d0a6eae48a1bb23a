import pytest

from edge_agent.contract.topics import Gateway, Topic, parse_topic

GATEWAY = Gateway("acme", "plant-7", "gw1")


def test_topics_are_built_and_taken_apart():
    assert GATEWAY.up("tele", "all") == "edge/v1/acme/plant-7/gw1/up/tele/all"
    assert GATEWAY.up("alert") == "edge/v1/acme/plant-7/gw1/up/alert"
    assert GATEWAY.down("ack") == "edge/v1/acme/plant-7/gw1/down/ack"
    assert GATEWAY.all_down() == "edge/v1/acme/plant-7/gw1/down/#"
    for text in (GATEWAY.up("tele", "all"), GATEWAY.up("alert"), GATEWAY.down("cmd", "reset")):
        assert str(parse_topic(text)) == text
    assert parse_topic(GATEWAY.down("cmd", "reset")) == Topic("acme", "plant-7", "gw1", "down", "cmd", "reset")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "edge",
        "edge/v2/acme/plant-7/gw1/up/alert",
        "edge/v1/acme/plant-7/gw1/up",
        "edge/v1/acme/plant-7/gw1/up/tele/all/more",
        "edge/v1/acme/plant-7/gw1/sideways/tele",
        "edge/v1/acme/plant.7/gw1/up/alert",
        "edge/v1/acme/+/gw1/up/alert",
        "edge/v1//plant-7/gw1/up/alert",
        "edge/v1/acme/plant-7/gw1/up/al\nert",
        "$share/x/edge/v1/acme/plant-7/gw1/up/alert",
    ],
)
def test_anything_else_is_not_a_topic_of_the_contract(text):
    assert parse_topic(text) is None

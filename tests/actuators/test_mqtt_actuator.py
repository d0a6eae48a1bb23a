"""The mqtt actuator against a real broker: confirmed, read back, or failed for a named reason."""

import msgspec
import pytest
from acts import act
from doubles.mosquitto import Mosquitto, free_port
from doubles.mqtt_peer import MqttPeer

from edge_agent.actuators import mqtt
from edge_agent.errors import Rejected, Retryable

PLUG = {
    "topic": "z2m/{target}/set", "payload": '{"state":{value}}', "state_topic": "z2m/{target}", "state_key": "state",
}  # fmt: skip


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with Mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


class Plug(MqttPeer):
    """A device on the bus: obeys, and tells its state as it is."""

    def __init__(self, port, answer=lambda wanted: wanted):
        self._answer = answer
        super().__init__(port, "z2m/+/set", client_id="plug")

    def _take(self, client, userdata, message):
        super()._take(client, userdata, message)
        state = self._answer(msgspec.json.decode(message.payload)["state"])
        client.publish(message.topic.removesuffix("/set"), msgspec.json.encode({"state": state, "power": 7}))


def opened(port, context, **keys):
    return mqtt.open(msgspec.convert({"host": "127.0.0.1", "port": port, **keys}, mqtt.Config), context)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_command_is_done_when_the_device_tells_the_new_state(broker, context, version):
    with Plug(broker.port) as plug:
        actuator = opened(broker.port, context, version=version, **PLUG)
        for n, value in enumerate(("ON", "OFF", True, 0.5)):
            receipt = actuator.apply(act(n, target="fan", value=value), 5.0)
            assert (receipt.done, receipt.read_back) == (True, value)
        actuator.close()
        plug.wait_for(lambda messages: len(messages) == 4)
    assert [(m[0], m[2]) for m in plug.messages] == [("z2m/fan/set", False)] * 4


def test_a_device_that_stays_as_it_was_fails_the_try(broker, context):
    with Plug(broker.port, answer=lambda _wanted: "OFF"):
        actuator = opened(broker.port, context, **PLUG)
        with pytest.raises(Retryable, match="z2m/fan tells 'OFF', not 'ON'"):
            actuator.apply(act(1, target="fan", value="ON"), 0.5)
        actuator.close()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_an_old_state_the_broker_kept_is_no_answer(broker, context, version):
    with MqttPeer(broker.port, "z2m/lamp/set") as listener:
        listener.publish("z2m/lamp", b'{"state":"ON"}', retain=True)
        actuator = opened(broker.port, context, version=version, **PLUG)
        with pytest.raises(Retryable, match="z2m/lamp tells nothing"):
            actuator.apply(act(1, target="lamp", value="ON"), 0.5)
        # nor is what it told between two commands
        listener.publish("z2m/lamp", b'{"state":"OFF"}')
        with pytest.raises(Retryable, match="z2m/lamp tells nothing"):
            actuator.apply(act(2, target="lamp", value="OFF"), 0.5)
        actuator.close()
        listener.publish("z2m/lamp", b"", retain=True)


def test_a_command_that_nobody_hears_is_no_success(broker, context):
    actuator = opened(broker.port, context, topic="nobody/{target}")
    with pytest.raises(Retryable, match="nobody has subscribed"):
        actuator.apply(act(1), 2.0)
    actuator.close()


def test_plain_text_devices_and_plain_states(broker, context):
    with MqttPeer(broker.port, "cmnd/#") as tasmota:
        actuator = opened(broker.port, context, topic="cmnd/{target}/POWER", payload="{text} {target} {value}")
        assert actuator.apply(act(1, value="{value}"), 5.0).done
        assert actuator.apply(act(2, value=1), 5.0).done
        actuator.close()
        tasmota.wait_for(lambda messages: len(messages) == 2)
    assert [m[1] for m in tasmota.messages] == [b'{value} relay "{value}"', b"1 relay 1"]
    assert mqtt._state(b"ON", "") == "ON"
    assert mqtt._state(b"\xff", "state") is None


def test_a_broker_that_went_away_is_found_at_the_next_command(tmp_path, context):
    with Mosquitto(tmp_path) as broker, MqttPeer(broker.port, "x/#"):
        actuator = opened(broker.port, context, topic="x/{target}")
        assert actuator.apply(act(1), 5.0).done
        broker.kill()
        with pytest.raises(Retryable):
            actuator.apply(act(2), 1.0)
        actuator.close()


def test_no_broker_and_a_target_that_is_no_name_are_told_apart(broker, context):
    with pytest.raises(Retryable):
        opened(free_port(), context, topic="x")
    actuator = opened(broker.port, context, topic="x/{target}")
    for target in ("../x", "a/b", "+", "#", "", "x" * 65, "é"):
        with pytest.raises(Rejected, match="cannot stand in a topic"):
            actuator.apply(act(1, target=target), 1.0)
    actuator.close()


@pytest.mark.parametrize("keys", [{"topic": ""}, {"topic": "a/#"}, {"topic": "a", "state_topic": "a/x{target}"}, {}])
def test_the_configuration_is_checked(keys):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(keys, mqtt.Config)

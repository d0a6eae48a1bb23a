"""The shapes are those of the contract: every published example is read, and written again to the same text."""

import json
from pathlib import Path

import msgspec
import pytest

from edge_agent.contract import messages

EXAMPLES = [
    '{"schema":"tele/1","gw":"gw1","epoch":"01KDVDNA00Q3N5M7K9P2R4T6W8","boot":"8f14e45f","t0":1767225600000,'
    '"m0":5123456,"tq":"synced","seg":[{"stream":"press","seq0":1200,"n":3,"dt":[0,1000,1000],"ch":{"temp":'
    '{"u":"Cel","x":[20.1,20.3,null],"q":[0,0,2]}},"h":"9a3b1c07"}]}',
    '{"schema":"gap/1","gw":"gw1","stream":"ledger","epoch":"01KDVDNA00Q3N5M7K9P2R4T6W8","seq":41,"gap":'
    '{"stream":"press","epoch":"01KDVDNA00Q3N5M7K9P2R4T6W8","from":1203,"to":1902,"reason":"quota"}}',
    '{"schema":"gap/1","gw":"gw1","stream":"ledger","epoch":"01KDVDNA00Q3N5M7K9P2R4T6W8","seq":42,"gaps":'
    '{"epoch":"01KDVDNA00Q3N5M7K9P2R4T6W8","reason":"thinned","lost":{"press":[[1203,1207],[1213,1217]]}}}',
    '{"schema":"close/1","gw":"gw1","stream":"ledger","epoch":"01KE0000000000000000000000","seq":0,"closed":'
    '"01KDVDNA00Q3N5M7K9P2R4T6W8","last":{"press":2400,"decision":14,"ledger":41}}',
    '{"schema":"ack/1","epoch":"01KDVDNA00Q3N5M7K9P2R4T6W8","have":{"press":[[0,1902],[1950,2400]],"ledger":'
    '[[0,41]]},"reject":[{"stream":"press","seq":1150,"code":"schema"}]}',
    '{"schema":"infer/1","gw":"gw1","stream":"infer-bearing","epoch":"01KDVDNA00Q3N5M7K9P2R4T6W8","seq":88,'
    '"t":1767225602000,"m":5125456,"tq":"synced","boot":"8f14e45f","model":{"name":"bearing","version":"1.4.0",'
    '"sha256":"5e88"},"inputs":{"digest":"sha256:77af","refs":[{"stream":"press","epoch":'
    '"01KDVDNA00Q3N5M7K9P2R4T6W8","from":1137,"to":1200}]},"outputs":{"score":0.83},"valid":true,'
    '"trust":"trusted","latency_ms":11.8}',
    '{"schema":"decision/1","gw":"gw1","stream":"decision","epoch":"01KDVDNA00Q3N5M7K9P2R4T6W8","seq":14,'
    '"t":1767225602010,"tq":"synced","rule":{"id":"bearing-overheat","sha256":"c0de"},"inputs":'
    '{"motor.temp_5m":86.2,"bearing.score":null},"unknown":["bearing.score"],"outcome":"raised","action":'
    '{"set":"press.relay","value":0,"result":"done"},"overrides":[]}',
    '{"schema":"alert/1","gw":"gw1","stream":"alert","epoch":"01KDVDNA00Q3N5M7K9P2R4T6W8","seq":5,'
    '"t":1767225602010,"tq":"synced","alert_id":"a-5f2c","dedupe_key":"bearing-overheat/motor","state":"raised",'
    '"severity":"critical"}',
    '{"schema":"state/1","gw":"gw1","online":true,"epoch":"01KDVDNA00Q3N5M7K9P2R4T6W8","start_no":312,'
    '"caps":["deflate","ack"],"schemas":{"tele/1":"sha256:ab12"}}',
    '{"schema":"cmd/1","id":"01KDVE0000AAAAAAAAAAAAAAAA","gw":"gw1","name":"rule.override","args":'
    '{"rule":"bearing-overheat","hold_s":3600},"issued":1767225600000,"expires":1767225900000,"counter":991,'
    '"role":"operator","reply":"up/cmd","sig":"ed25519:00"}',
    '{"schema":"cmd_result/1","id":"01KDVE0000AAAAAAAAAAAAAAAA","state":"refused","code":"expired",'
    '"t":1767226000000}',
    '{"schema":"time_fix/1","gw":"gw1","stream":"ledger","epoch":"01KDVDNA00Q3N5M7K9P2R4T6W8","seq":42,'
    '"boot":"8f14e45f","offset_ms":1767220476544,"uncertainty_ms":40}',
]


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: json.loads(text)["schema"])
def test_released_example_is_read_and_written_unchanged(text):
    message = msgspec.json.decode(text, type=messages.Message)
    assert msgspec.json.encode(message).decode() == text


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: json.loads(text)["schema"])
def test_field_of_a_later_version_is_ignored(text):
    later = json.loads(text) | {"a_later_field": {"x": 1}}
    assert msgspec.json.decode(json.dumps(later), type=messages.Message) == msgspec.json.decode(
        text, type=messages.Message
    )


def test_examples_are_those_of_the_contract_page():
    page = Path(__file__).parents[3] / "shared" / "facts" / "contract.md"
    if not page.exists():
        pytest.skip("the contract's fact page is not beside this checkout")
    schemas = {json.loads(text)["schema"] for text in EXAMPLES}
    shown = [json.loads(line) for line in page.read_text("utf-8").splitlines() if line.startswith('{"schema"')]
    assert {example["schema"] for example in shown} == schemas
    for example in shown:
        message = msgspec.json.decode(msgspec.json.encode(example), type=messages.Message)
        assert json.loads(msgspec.json.encode(message)) == example

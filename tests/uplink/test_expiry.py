"""Row 24: a certificate that ends soon is told in time, one that has ended is named, a renewed one counts at once."""

import random
import shutil
import ssl
import subprocess
import time

import pytest
from doubles.mosquitto import Authority, Mosquitto
from doubles.tls_portal import TlsPortal
from running import running

from edge_agent.clock import FakeClock
from edge_agent.config.site import AgentConfig, SiteConfig, SourceConfig, TlsConfig, UplinkConfig
from edge_agent.expiry import Expiry, certificates_of
from edge_agent.health import Health
from edge_agent.links.certificates import expiries_ms
from edge_agent.sources.mqtt import Config as MqttSource
from edge_agent.sources.mqtt_mapping import TopicMap

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def ends_ms(cert):
    """As openssl reads it."""
    told = subprocess.run(
        ["openssl", "x509", "-in", cert, "-noout", "-enddate"], check=True, capture_output=True, text=True
    )
    return ssl.cert_time_to_seconds(told.stdout.strip().removeprefix("notAfter=")) * 1000


class TestReading:
    @pytest.mark.parametrize("days", [-1, 1, 30, 20_000])
    def test_the_date_is_the_one_that_openssl_reads(self, authority, days):
        cert, _ = authority.issue(f"for{days}", days=days)
        assert expiries_ms(cert.read_text()) == [ends_ms(cert)]

    @pytest.mark.parametrize("kind", [("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), ("ed25519",)])
    @pytest.mark.parametrize("extra", [(), ("-set_serial", "-3"), ("-subj", "/C=DE/O=Ä/CN=" + "x" * 60)])
    def test_other_keys_serials_and_names(self, tmp_path, kind, extra):
        cert = tmp_path / "cert.pem"
        subject = () if "-subj" in extra else ("-subj", "/CN=x")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-days", "9", *subject, *extra, "-utf8",
             "-keyout", tmp_path / "key.pem", "-out", cert], check=True, capture_output=True,
        )  # fmt: skip
        assert expiries_ms(cert.read_text()) == [ends_ms(cert)]

    def test_version_1_and_the_trusted_form(self, tmp_path, authority):
        cert, key = authority.issue("old", days=5)
        for name, options in (("v1", ("-req", "-signkey", key)), ("trusted", ("-trustout",))):
            given, out = cert, tmp_path / name
            if name == "v1":
                given = authority.folder / "old.csr"
            subprocess.run(["openssl", "x509", "-in", given, "-out", out, *options], check=True, capture_output=True)
            assert expiries_ms(out.read_text()) == [ends_ms(out)]

    def test_every_certificate_of_a_bundle_with_text_around(self, authority):
        certs = [authority.issue(f"b{n}", days=n)[0] for n in (3, 1, 2)]
        text = "".join(f"# {c.name}\r\n{c.read_text()}\n" for c in certs)
        assert expiries_ms(text) == [ends_ms(c) for c in certs]

    def test_what_is_none_is_refused_and_raises_nothing_else(self, authority):
        whole = ssl.PEM_cert_to_DER_cert(authority.ca.read_text())
        rng = random.Random(1)
        spoiled = [whole[:n] for n in range(0, 200, 3)]
        for _ in range(2000):
            copy = bytearray(whole)
            copy[rng.randrange(200)] = rng.randrange(256)
            spoiled.append(bytes(copy))
        for der in spoiled:
            try:
                assert len(expiries_ms(ssl.DER_cert_to_PEM_cert(der))) == 1
            except ValueError:
                continue
        with pytest.raises(ValueError, match="no certificate"):
            expiries_ms("-----BEGIN PRIVATE KEY-----")
        with pytest.raises(ValueError, match="cut off"):
            expiries_ms(authority.ca.read_text() + "-----BEGIN CERTIFICATE-----\nMIIB")

    def test_a_megabyte_of_beginnings_is_refused_at_once(self):
        began_s = time.process_time()
        with pytest.raises(ValueError, match="cut off"):
            expiries_ms("-----BEGIN CERTIFICATE-----\n" * 40_000)
        assert time.process_time() - began_s < 1

    def test_the_label_that_old_tools_write(self, authority):
        old = authority.ca.read_text().replace(" CERTIFICATE", " X509 CERTIFICATE")
        assert ssl.create_default_context(cadata=old)
        assert expiries_ms(old) == [ends_ms(authority.ca)]


class Watched:
    def __init__(self, site):
        self.clock = FakeClock()
        self.health = Health()
        self.changes = []
        self.expiry = Expiry(tuple(certificates_of(site)), self.health, self.changes.extend)

    def at(self, utc_ms, *, after_s=60):
        """What people are told newly at this time."""
        self.clock.advance(after_s)
        told = len(self.changes)
        self.expiry.look(self.clock.now(), utc_ms)
        return [(c.part, c.up, c.severity) for c in self.changes[told:]]


def site(cert=None, ca=None):
    tls = TlsConfig(ca=ca and str(ca), cert=cert and str(cert), key=cert and str(cert))
    return SiteConfig(agent=AgentConfig(gateway="g"), uplink=UplinkConfig(kind="mqtt", tls=tls))


class TestWatching:
    def test_it_is_told_30_14_and_3_days_before_and_worse_each_time(self, authority):
        cert, _ = authority.issue("soon", days=60)
        watched, end_ms = Watched(site(cert)), ends_ms(cert)
        part = "uplink.tls.cert"
        steps = {
            31: [], 30: ["info"], 29: [], 14: ["warning"], 4: [], 3: ["critical"], 1: [], 0: ["critical"], -2: [],
        }  # fmt: skip
        for days, severities in steps.items():
            told = watched.at(end_ms - days * DAY_MS)
            assert told == [(part, False, s) for s in severities], days
            assert watched.health.part(part).up is (False if days <= 0 else None), days
        reasons = [change.reason for change in watched.changes]
        assert [r.partition(": ")[0] for r in reasons] == [
            f"{cert} {words}" for words in
            ("expires in 30 days", "expires in 14 days", "expires in 3 days", "has expired 0 hours ago")
        ]  # fmt: skip
        assert all(change.again and change.alert for change in watched.changes)

    @pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
    def test_a_bundle_that_names_its_cas_in_their_own_letters_is_watched(self, authority, tmp_path, encoding):
        ca = tmp_path / "ca.pem"
        ca.write_bytes("# Behörde für Zertifikate\n".encode(encoding) + authority.ca.read_bytes())
        watched = Watched(site(ca=ca))
        assert ssl.create_default_context(cafile=ca)
        assert [alert[0] for alert in watched.at(ends_ms(ca) - DAY_MS)] == ["uplink.tls.ca"]

    def test_a_renewed_file_ends_it_within_a_minute(self, tmp_path, authority):
        cert = tmp_path / "device.pem"
        shutil.copy(authority.issue("short", days=1)[0], cert)
        watched, now_ms = Watched(site(cert)), time.time() * 1000
        assert watched.at(now_ms + 2 * DAY_MS) == [("uplink.tls.cert", False, "critical")]
        shutil.copy(authority.issue("long", days=90)[0], cert)
        assert watched.at(now_ms + 2 * DAY_MS, after_s=59) == []
        assert watched.at(now_ms + 2 * DAY_MS, after_s=1) == [("uplink.tls.cert", True, "warning")]
        assert watched.health.part("uplink.tls.cert").up is True
        assert watched.at(now_ms + 2 * DAY_MS) == []

    def test_while_nobody_knows_the_time_nothing_is_said_of_days(self, authority):
        cert, _ = authority.issue("any", days=1)
        watched = Watched(site(cert))
        assert watched.at(None) == []
        told = watched.expiry.to_list(None)[0]
        assert (told["days"], told["why_not"], told["expires_ms"]) == (None, "clock not known", ends_ms(cert))
        assert watched.at(ends_ms(cert) - DAY_MS, after_s=1) == [("uplink.tls.cert", False, "critical")], "at once"

    def test_an_old_ca_beside_its_successor_is_no_trouble_but_an_old_one_in_a_chain_is(self, authority, tmp_path):
        short, long = (authority.issue(name, days=days)[0] for name, days in (("near", 1), ("far", 90)))
        both = tmp_path / "both.pem"
        both.write_text(short.read_text() + long.read_text())
        watched = Watched(site(both, both))
        assert watched.at(ends_ms(short) + 1) == [("uplink.tls.cert", False, "critical")]

    def test_each_link_has_its_own_and_a_missing_file_is_named(self, authority, tmp_path):
        tls = TlsConfig(ca=str(authority.ca))
        driver = MqttSource(host="h", tls=tls, topics=(TopicMap(filter="a"),))
        hall = SourceConfig(name="hall", kind="mqtt", driver=driver)
        both = SiteConfig(
            agent=AgentConfig(gateway="g"), source=(hall,),
            uplink=UplinkConfig(kind="mqtt", tls=TlsConfig(ca=str(tmp_path / "none.pem"))),
        )  # fmt: skip
        watched = Watched(both)
        now_ms = time.time() * 1000
        assert [told[0] for told in watched.at(now_ms)] == ["hall.tls.ca"], "it is made for two days"
        hall_ca, uplink_ca = watched.expiry.to_list(now_ms)
        assert 1 < hall_ca["days"] <= 2
        assert (uplink_ca["days"], uplink_ca["why_not"]) == (None, "No such file or directory")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_row_24_expired_stores_on_with_an_attempt_a_minute_and_the_renewed_one_counts_without_a_restart(
    tmp_path, authority, version
):
    server, server_key = authority.issue("localhost", address="DNS:localhost,IP:127.0.0.1")
    cert, key = authority.issue("gw1", days=-1)
    tls = TlsConfig(ca=str(authority.ca), cert=str(cert), key=str(key))
    lines = (f"cafile {authority.ca}", f"certfile {server}", f"keyfile {server_key}", "require_certificate true")
    broker = Mosquitto(tmp_path, *lines)
    with broker, running(broker.port, host="localhost", tls=tls, version=version) as agent:
        agent.commit(3)
        reason = agent.down_reason()
        assert "this client's certificate" in reason
        assert agent.outbox.waiting() == 3
        assert agent.transport._dial_at_s - agent.transport._monotonic() > 50
        authority.issue("gw1", days=30)
        agent.transport._dial_at_s = 0.0  # the next attempt, without its wait
        agent.delivered(3)


def test_row_24_a_refusal_whose_alert_was_lost_is_no_reason_to_hurry(tmp_path, authority):
    cert, key = authority.issue("localhost", address="DNS:localhost,IP:127.0.0.1")
    tls = TlsConfig(ca=str(authority.ca), cert=str(cert), key=str(key))
    with TlsPortal(cert, key, mute=True) as portal, running(portal.port, host="localhost", tls=tls) as agent:
        assert "does it refuse this client's certificate (tls.cert)?" in agent.down_reason()
        assert agent.transport._dial_at_s - agent.transport._monotonic() > 50

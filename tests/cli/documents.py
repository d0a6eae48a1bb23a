"""A status document with something of everything, as `control.Control.status` gives it."""

from __future__ import annotations

from typing import Any


def latency(count: int, p50: float, p99: float) -> dict[str, float]:
    return {"count": count, "mean_ms": p50, "p50_ms": p50, "p99_ms": p99, "max_ms": p99}


TROUBLE: dict[str, Any] = {
    "ok": False,
    "trouble": ["rung rules-only: digits unavailable", "cam: no frame for 12 s", "uplink: connection refused"],
    "gateway": "press-7",
    "version": "0.1.0",
    "epoch": "01M84J13F94MNC4F7JDA0EYCSS",
    "start_no": 12,
    "uptime_s": 10_900.4,
    "clock": "guessed",
    "rung": "rules-only",
    "safe_mode": "",
    "rules": {"hot": "raised", "worn": "unknown", "slow": "normal", "fast": "normal", "jam": "latched"},
    "holds": {"slow": {"by": "uid 1000", "why": "belt is off", "left_s": 1790.0}},
    "alerts": [
        {"alert_id": "a-1a2b3c4d5e", "dedupe_key": "rule/hot", "severity": "critical", "text": "the motor is hot",
         "acked_by": "", "age_s": 245.0},
        {"alert_id": "a-0000000001", "dedupe_key": "rule/jam", "severity": "critical", "text": "jam\x1b[31m",
         "acked_by": "uid 0", "age_s": 7300.0},
    ],
    "engine": {"handled": 123, "latency": latency(1_234_567, 0.211, 0.9), "shed": {"motor": 1500}},
    "lanes": [
        {"name": "digits", "trust": "unavailable", "fresh": False, "up": None, "model": "meter-digits 1.0.0",
         "counts": {"starts": 3, "predictions": 1200, "invalid": 4, "deadline": 5, "skipped": 17},
         "notes": {"state": "open: left alone for a while", "backend": "onnxruntime 1.32.0 CPUExecutionProvider",
                   "pid": 0, "last_error": "no answer within 200 ms", "rss_mb": 68.2},
         "latency": latency(1200, 0.412, 1.9)},
        {"name": "wear", "trust": "trusted", "fresh": True, "up": None, "model": "motor-anomaly 1.0.0",
         "counts": {"starts": 1, "predictions": 90}, "latency": latency(90, 0.31, 0.5),
         "notes": {"state": "serving", "backend": "ai_edge_litert", "pid": 4711, "rss_mb": 51.0}},
    ],
    "sources": [
        {"name": "motor", "up": True, "counts": {"opened": 1, "items": 5400, "checksum": 3}, "since_s": 10_900.0,
         "age_s": 0.02, "rate_hz": 49.97, "quarantine": [{"reason": "checksum", "item": "$GPGGA,\\xff"}]},
        {"name": "cam", "up": False, "counts": {"opened": 2, "downs": 2}, "since_s": 12.1, "age_s": 12.0,
         "rate_hz": 0.8, "reason": "no frame for 12 s", "notes": {"fps": 14.9}},
        {"name": "gate", "up": None, "counts": {}},
    ],
    "actuators": [
        {"name": "press", "up": True, "counts": {"done": 7, "retries": 2}, "since_s": 100.0},
        {"name": "lamp", "up": False, "counts": {"failed": 1}, "since_s": 400.0, "reason": "no answer"},
    ],
    "mcus": [
        {"name": "press", "stage": "upload", "by": "uid 1000", "version": "1.3.0", "offset": 40_960, "size": 200_672,
         "end": "", "reason": "", "ended_s": None},
        {"name": "lathe", "stage": "", "by": "uid 0", "version": "1.3.0", "offset": 0, "size": 0, "end": "reverted",
         "reason": "source lathe gets no samples", "ended_s": 64.0},
        {"name": "saw", "stage": "", "by": "", "version": "", "offset": 0, "size": 0, "end": "", "reason": "",
         "ended_s": None},
    ],
    "store": {"failing": "", "commits": 9000, "rows": 9400, "readings": 540_000, "body_bytes": 10_000_000,
              "newest": [1, 2, 3], "file_bytes": 12_400_000, "quota_bytes": 1_000_000_000,
              "flash": {"device": "mmcblk0p2", "process_bytes": 1_000_000, "device_bytes": 1_200_000,
                        "process_bytes_per_day": 880_000_000, "device_bytes_per_day": 1_100_000_000,
                        "card_tbw": 15.0, "years": 37.3, "why_not": ""},
              "backlog": {"rows": 340, "oldest_s": 3700.0, "gone_in_s": 95.0}},
    "uplink": {"name": "uplink", "up": False, "counts": {"connects": 3}, "since_s": 3600.0, "connected": False,
               "reason": "connection refused", "sent": 9000, "resent": 3, "delivered": 8990, "refused": 2,
               "connects": 3, "in_flight": 0, "waiting": 340, "uncovered": 0, "oldest_uncovered_s": None,
               "set_aside": 0},
    "certificates": [],
    "parked": [],
}  # fmt: skip

HEALTHY: dict[str, Any] = {
    **TROUBLE,
    "ok": True,
    "trouble": [],
    "clock": "synced",
    "rung": "full",
    "safe_mode": "",
    "rules": {"hot": "normal"},
    "holds": {},
    "alerts": [],
    "lanes": TROUBLE["lanes"][1:],
    "sources": [{**TROUBLE["sources"][0], "counts": {"opened": 1, "items": 5400}, "quarantine": []}],
    "engine": {**TROUBLE["engine"], "shed": {}},
    "actuators": TROUBLE["actuators"][:1],
    "mcus": [],
    "uplink": {**TROUBLE["uplink"], "up": True, "connected": True, "reason": "", "in_flight": 1, "refused": 0},
    "store": {**TROUBLE["store"], "backlog": {"rows": 1, "oldest_s": 0.4, "gone_in_s": 0.2}},
}

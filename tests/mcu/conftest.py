"""Devices with MCUboot behind cables, their keys and images, and a site that names them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bridge.cable import Cable
from tests.doubles import mcuboot
from tests.doubles.mcuboot import McuBoot

ROOT = Path(__file__).resolve().parents[2]


class Keys:
    """A key that devices trust, and one that they do not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.private, self.public = mcuboot.keypair(folder, "good")
        self.stranger, self.strangers_public = mcuboot.keypair(folder, "stranger")
        self.first = self.image("1.0.0")

    def image(self, version: str, **more: object) -> Path:
        return mcuboot.image(self.folder, more.pop("key", self.private), version, **more)


class Plugged:
    """A device, and its cable in a folder of its own."""

    def __init__(self, folder: Path, keys: Keys, noise: float = 0.0, **device: object) -> None:
        folder.mkdir(exist_ok=True)
        self.device = McuBoot(keys.first, keys.public, **device)
        self.device.start()
        self.cable = Cable(folder, self.device.fd, noise)
        self.path = str(self.cable.path)

    def close(self) -> None:
        self.cable.close()
        self.device.close()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def plug(tmp_path: Path, keys: Keys) -> Iterator:
    """plug(name, **as of McuBoot) -> Plugged"""
    plugged: list[Plugged] = []

    def plug(name: str = "press", **device: object) -> Plugged:
        plugged.append(Plugged(tmp_path / name, keys, **device))
        return plugged[-1]

    yield plug
    for each in plugged:
        each.close()


def mcu(*words: str | Path, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """`edge-agent mcu …` as a process of its own."""
    return subprocess.run(argv(*words), capture_output=True, text=True, timeout=timeout_s, check=False, cwd=ROOT)


def argv(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "edge_agent", "mcu", *map(str, words)]

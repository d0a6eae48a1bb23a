"""The recorder is built once; boxes stand in memory."""

import shutil

import pytest

from tests.powercut import recorder as recorders


@pytest.fixture(scope="session")
def recorder(tmp_path_factory):
    return recorders.build(tmp_path_factory.mktemp("recorder"))


@pytest.fixture
def box_folder():
    folder = recorders.memory_folder("powercut-")
    yield folder
    shutil.rmtree(folder)

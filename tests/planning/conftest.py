import pytest

import neuralyzer as nz
from neuralyzer.unlearning.task import Task


@pytest.fixture(scope="session")
def setting(made_world):
    """The small world's Oracle and its references; read, never changed."""
    oracle = made_world.oracle
    return oracle, made_world.references(oracle)


@pytest.fixture
def task(setting):
    """Makes the task of a request for c0's rows."""

    def make(references="pool", subjects=("c0",), **request):
        pool = setting[1] if references == "pool" else references
        return Task(setting[0], nz.ErasureRequest(subjects=subjects, **request), pool)

    return make

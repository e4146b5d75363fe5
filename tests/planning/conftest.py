import pytest

import neuralyzer as nz
from neuralyzer.methods.task import Task
from neuralyzer.planning.cost import Rates

# Told, not timed: a retraining takes 7.6 s, influence and its repair 2 s, whatever else the machine does.
RATES = Rates(
    step=0.01, partial=5e-3, gradient=1e-5, single=1e-5, product=1e-6, solve=1e-4, forward=1e-6, reading=0.005
)


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

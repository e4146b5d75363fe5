import pytest
import torch

from neuralyzer.signals.signal import Batch, Context
from tests.models.cases import CASES


@pytest.fixture(params=list(CASES), name="case")
def _case(request):
    return CASES[request.param]


@pytest.fixture
def context(case):
    """What every model is read with; the signals' settings as a pool would find them."""
    return Context(
        case.objective,
        torch.linspace(0.5, 1.5, case.rows(1)[0].numel()).reshape(case.shape),
        seed=3,
        settings={"correct": {"noise": 1.0}, "relearned": {"rate": 0.05}},
    )


@pytest.fixture
def rows(case):
    return Batch(*case.rows(12))


@pytest.fixture
def holdout(case):
    return Batch(*case.rows(7, seed=1))

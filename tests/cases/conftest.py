"""Cases whose answer does not depend on how busy the machine is."""

import pytest

from neuralyzer.unlearning.task import Task


@pytest.fixture(autouse=True, scope="module")
def unhurried():
    """The plan keeps to the budget as it predicts it; a search is not cut short on a machine that has other work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Task, "time_is_up", property(lambda task: False))
        yield

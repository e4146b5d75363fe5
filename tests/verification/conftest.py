import pytest

import neuralyzer as nz
from tests.conftest import small_recipe


@pytest.fixture(scope="session")
def setting(made_world):
    """The small world's Oracle and its references; read, never changed."""
    oracle = made_world.oracle
    return oracle, made_world.references(oracle)


@pytest.fixture(scope="session")
def retrained(made_world):
    """A model that was really trained without c0's rows, by another seed."""
    rest = made_world.data.select(made_world.data.subjects != "c0")
    return nz.TrainedModel.fit(small_recipe(seed=77), rest).model

import shutil

import pytest

from neuralyzer.references.pool import References
from tests.references import world


@pytest.fixture(scope="session")
def oracle():
    return world.oracle()


@pytest.fixture(scope="session")
def kept(oracle, tmp_path_factory):
    """A pool of 16 whose weights were kept; not to be changed."""
    place = tmp_path_factory.mktemp("kept")
    return References.fit(oracle, 16, workspace=place, backend="vectorised", keep_weights=True)


@pytest.fixture
def copied(kept, oracle, tmp_path):
    """The like, to be changed."""
    shutil.copytree(kept.store.root.parent, tmp_path / "references")
    return References.open(tmp_path / "references" / kept.store.root.name, oracle)

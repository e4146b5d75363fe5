import pytest

from neuralyzer.report.page import write_report
from tests.report.example import margins, result


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """The example's report, drawn once for all tests that look at the whole of it."""
    return write_report(result(), margins(), tmp_path_factory.mktemp("report") / "report.html")

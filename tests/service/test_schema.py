"""schemathesis on the whole schema: no fault, no undocumented answer, nothing that goes without its token."""

import pytest
from hypothesis import HealthCheck, given, settings

schemathesis = pytest.importorskip("schemathesis")
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.service.http import world_of

calm = settings(
    deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)  # fmt: skip


@pytest.mark.parametrize("examples", [12, pytest.param(100, marks=pytest.mark.slow)])
def test_schemathesis_finds_nothing(tmp_path, examples):
    world = world_of(tmp_path, "\n[service]\nrate = 1000000\n")
    token = {"Authorization": f"Bearer {world.secrets['admin']}"}
    schema = schemathesis.openapi.from_asgi("/openapi.json", world.app)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        # OpenDSR's specification wants 400 for all that cannot be done, even where the form is right.
        apart = [positive_data_acceptance] if operation.path.startswith("/opendsr") else []

        @settings(calm, max_examples=examples)
        @given(case=operation.as_strategy())
        def check(case):
            case.call_and_validate(headers=token, excluded_checks=apart)  # noqa: B023  it runs at once

        check()
    world.service.requests.database.close()

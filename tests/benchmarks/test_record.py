"""What becomes of the lines of the benchmark: the results of several runs together, and the record that ships."""

import pytest

from benchmarks.methods import record, table

SITUATION = {"parameters": 4.0, "forget_share": -1.0, "concentration": 0.2, "distance": 0.0, "gap": 0.5, "whole": 0.0}


def line(entrant, worst, scenario="ten", **more):
    own = {"world": "w-1", "scenario": scenario, "entrant": entrant, "worst": worst, "situation": SITUATION}
    return own | {"utility_loss": 0.01} | more


def test_a_run_left_what_is_above_retrained_models():
    lines = [
        line("retrained", [0.1, 0.2, 0.3]),
        line("default:ssd", 0.9),
        line("tuned:ssd", 0.15),
        line("answer:ssd", 0.0),  # it saw the retrained models
        line("default:ct", 0.0, failed="no convolutions"),
        line("retrained", [0.3, 0.5, 0.9], "one"),  # nothing can be told there
        line("default:ssd", 0.9, "one"),
    ]
    found = record.runs(lines)
    assert [(run["method"], run["effort"], run["trace"]) for run in found] == [
        ("ssd", "default", pytest.approx(0.7)),
        ("ssd", "tuned", 0.0),
    ]
    assert found[0] | SITUATION == found[0]


def test_a_partial_run_replaces_its_own_lines_alone():
    earlier = [line("retrained", [0.1]), line("default:ssd", 0.9), line("default:ct", 0.8)]
    now = [line("default:ssd", 0.2), line("default:ssd", 0.3, "one")]
    found = table.merged(earlier, now)
    assert [(own["scenario"], own["entrant"], own["worst"]) for own in found] == [
        ("ten", "retrained", [0.1]),
        ("ten", "default:ssd", 0.2),
        ("ten", "default:ct", 0.8),
        ("one", "default:ssd", 0.3),
    ]

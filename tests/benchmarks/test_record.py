"""What becomes of the lines of the benchmark: the results of several runs together, and the record that ships."""

import pytest

from benchmarks.methods import record, table

SITUATION = {"parameters": 4.0, "forget_share": -1.0, "concentration": 0.2, "distance": 0.0, "gap": 0.5, "whole": 0.0}


def line(entrant, worst, scenario="ten", **more):
    own = {"world": "w-1", "scenario": scenario, "entrant": entrant, "worst": worst, "situation": SITUATION}
    return own | {"utility_loss": 0.01} | more


def traces(**own):
    """Trace and half-width of the interval, by family."""
    return {name: {"trace": trace, "low": trace - half, "high": trace + half} for name, (trace, half) in own.items()}


def shown(**own):
    return {"models": 8, "traces": {name: {"low": low, "high": high} for name, (low, high) in own.items()}}


def test_a_run_left_what_counting_families_say_above_retrained_models():
    around = {"margin": (-0.1, 0.1), "fisher": (-0.2, 0.2), "correct": (0.0, 3.0)}
    lines = [
        line("retrained", [0.1], **shown(**around)),
        # 'correct' is too coarse to count; 'margin' weighs four times what 'fisher' does
        line("default:ssd", 9.0, traces=traces(margin=(0.6, 0.1), fisher=(0.4, 0.2), correct=(9.0, 0.6))),
        line("tuned:ssd", 0.0, traces=traces(margin=(0.01, 0.1), fisher=(0.0, 0.2), correct=(0.0, 0.6))),
        line("answer:ssd", 0.0, traces=traces(margin=(0.0, 0.1))),  # it saw the retrained models
        line("default:ct", 0.0, failed="no convolutions"),
        line("retrained", [0.9], "one", **shown(correct=(0.0, 3.0))),
        line("default:ssd", 0.9, "one", traces=traces(correct=(0.9, 0.6))),  # nothing counts there
    ]
    found = record.runs(lines)
    deviation = 2.847  # the mean range of eight normal readings, by Tippett's table
    squares = (4 * (0.6**2 - (0.2 / deviation) ** 2) + (0.4**2 - (0.4 / deviation) ** 2)) / 5
    assert [(run["method"], run["effort"], run["trace"]) for run in found] == [
        ("ssd", "default", pytest.approx(squares**0.5, rel=1e-3)),
        ("ssd", "tuned", 0.0),
    ]
    assert found[0] | SITUATION == found[0]


def test_regret_is_told_by_the_largest_trace_and_by_what_counting_families_say():
    def ran(entrant, gap, trace, coarse):
        own = traces(margin=(trace, 0.1), correct=(coarse, 2.0))
        return line(entrant, max(trace, coarse), traces=own, gap=gap, seconds=1.0, retraining_seconds=10.0, chosen="a")

    lines = [
        line("retrained", [0.1], **shown(margin=(-0.1, 0.1), correct=(-0.2, 0.2))),
        ran("plan:", 0.3, 0.1, 0.9),  # its largest trace is noise of a family that does not count
        ran("default:b", 0.2, 0.3, 0.3),
    ]
    found = table.regret(lines)
    assert (found["measurable_runs"], found["measurable_within"]) == (1, 0.0)
    assert (found["counting_runs"], found["counting_within"]) == (1, 1.0)


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

"""What earlier runs say: situations by hand, nearest runs by their formula, a workspace's cases."""

import json
import math

import numpy as np
import pytest

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.errors import UnreadableError
from neuralyzer.methods import catalogue
from neuralyzer.planning import track_record
from neuralyzer.planning.track_record import Record, Situation
from neuralyzer.unlearning.method import for_comparison
from neuralyzer.unlearning.task import Task

HERE = Situation(parameters=4.0, forget_share=-2.0, concentration=0.2, distance=0.0, gap=0.5)


def run(method="influence", trace=0.2, loss=0.01, world="other", effort=None, **changes):
    own = {"method": method, "effort": effort, "trace": trace, "utility_loss": loss, "world": world}
    return {**HERE.to_dict(), **own, **changes}


def test_without_runs_a_method_speaks_for_itself():
    method = catalogue.make("influence")
    assert Record().expect(method, HERE) == (method.expected, 0.0)
    assert Record((run(method="ssd"),)).expect(method, HERE) == (method.expected, 0.0)


def test_the_nearest_runs_speak_most():
    method = catalogue.make("influence")
    near, far = run(trace=0.4, loss=0.02), run(trace=2.0, loss=0.5, parameters=6.0)
    found, weight = Record((near, far)).expect(method, HERE)
    far_weight = math.exp(-0.5 * 2.0**2)
    assert weight == pytest.approx(1 + far_weight)
    own = method.expected
    assert found.trace == pytest.approx((own.trace + 0.4 + far_weight * 2.0) / (2 + far_weight))
    assert found.utility_loss == pytest.approx((own.utility_loss + 0.02 + far_weight * 0.5) / (2 + far_weight))


def test_runs_of_another_effort_do_not_speak():
    method = catalogue.make("influence")
    record = Record((run(effort="tuned"), run(effort="default"), run(effort=None)))
    assert [record.expect(method, HERE, effort)[1] for effort in (None, "tuned", "within")] == [3.0, 2.0, 1.0]


def test_what_is_not_known_counts_nothing():
    assert HERE.apart(run(gap=None)) == 0.0 and HERE.apart(run(gap=2.5)) == pytest.approx(2.0)
    older = run()
    del older["whole"]  # written before there was such a feature
    assert HERE.apart(older) == 0.0


def test_the_situation_of_a_task(task):
    own = task()
    found = Situation.of(own)
    assert found.parameters == pytest.approx(math.log10(sum(p.numel() for p in own.model.parameters())))
    assert found.forget_share == pytest.approx(math.log10(40 / len(own.oracle.data)))
    labels = own.forget.y.flatten().numpy()
    assert found.concentration == pytest.approx(np.bincount(labels).max() / 40)
    assert found.gap > 0, "the model knows these rows"
    assert Situation.of(task(references=None)).gap is None
    assert Situation(**json.loads(json.dumps(found.to_dict()))) == found


def test_half_of_a_class_is_not_like_a_whole_one(made_world):
    labels = made_world.oracle.data.labels
    own = np.flatnonzero(labels == labels[0])
    whole, half = (
        Situation.of(Task(made_world.oracle, ErasureRequest(rows=made_world.oracle.data.ids[rows].tolist())))
        for rows in (own, own[: len(own) // 2])
    )
    assert (whole.whole, half.whole) == (1.0, 0.0) and whole.concentration == half.concentration == 1.0
    assert whole.apart({**whole.to_dict(), "whole": 0.0}) > 3  # such runs do not speak


def test_rows_far_from_the_others_are_far():
    generator = np.random.default_rng(0)
    retain = Data.from_arrays(generator.normal(size=(400, 3)).astype(np.float32), np.zeros(400, dtype=int))

    def rows(shift):
        x = generator.normal(size=(300, 3)).astype(np.float32) + shift
        return Data.from_arrays(x, np.zeros(300, dtype=int))

    alike, beyond = (track_record._distance(rows(shift), retain, 0) for shift in (0.0, 8.0))
    assert abs(alike) < 0.25
    assert beyond > 2


def test_a_workspaces_cases_speak(tmp_path):
    result = {
        "case": "case-1",
        "plan": {
            "situation": HERE.to_dict(),
            "members_utility": 0.95,
            "options": [{"method": "scrub", "searched": True}, {"method": "ssd", "searched": False}],
        },
        "verification": {
            "families": [
                {"unlearned": -0.5, "low": -1.088, "high": 0.088, "counts": True},
                {"unlearned": 4.5, "low": -3.0, "high": 12.0, "counts": False},
                {"unlearned": None, "low": None, "high": None, "counts": True},
            ]
        },
        "utility": {"name": "accuracy", "holdout_accuracy": {"unlearned": 0.94}, "retained_accuracy": {}},
        "unlearning": {"method": "scrub"},
    }
    unmeasured = result | {"verification": {"families": []}}
    unsearched = result | {"unlearning": {"method": "ssd"}}
    for name, content in (("a", result), ("b", unmeasured), ("c", unsearched)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(content))
    own, other = Record().with_cases(tmp_path).runs
    assert own["effort"] is None and other["effort"] == "default"
    assert (
        own["trace"] == pytest.approx(0.4) and own["utility_loss"] == pytest.approx(0.01) and own["method"] == "scrub"
    )
    found, weight = Record((own,)).expect(catalogue.make("scrub"), HERE)
    assert weight == 1.0 and found.trace == pytest.approx((0.4 + catalogue.get("scrub").expected.trace) / 2)


def test_a_truncated_result_is_one_clear_line(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "result.json").write_text('{"case": ')
    with pytest.raises(UnreadableError, match=r"result\.json"):
        Record().with_cases(tmp_path)


def test_the_shipped_record_can_leave_worlds_out():
    every = Record.shipped()
    for world in {own["world"] for own in every.runs}:
        assert world not in {own["world"] for own in Record.shipped([world]).runs}
    for own in every.runs:
        assert own["method"] in catalogue.names()
        assert own["trace"] >= 0
        assert math.isfinite(HERE.apart(own))


def test_what_is_marked_for_comparison_left_most_of_the_trace_wherever_it_was_measured():
    """By the runs that ship: of each algorithm the least trace that was left in any situation."""
    least: dict[str, float] = {}
    for run in Record.shipped().runs:
        least[run["method"]] = min(run["trace"], least.get(run["method"], math.inf))
    marked = {name for name, kind in catalogue.methods().items() if for_comparison(kind)}
    assert marked == {name for name, trace in least.items() if trace > 0.5} and len(marked) >= 2

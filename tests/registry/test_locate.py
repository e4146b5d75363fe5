"""``locate``: every place where the rows of a request lie, from manifests alone where that can be."""

import json

import numpy as np
import pytest
from rich.console import Console

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.errors import ForgetSetError, UnknownSubjectError, UnreadableError, UsageError
from neuralyzer.registry.locate import locate
from neuralyzer.registry.location import Checkpoints, DatasetHit, Duplicate, RunHit
from neuralyzer.registry.manifests import register_dataset
from neuralyzer.registry.record import Recorder

ANN = ErasureRequest(subjects=["ann"])  # rows 0, 2, 5 of the data


def run_on(workspace, name, data, recipe, steps):
    """A run with a checkpoint after each step."""
    recorder = Recorder(workspace.runs / name, data, every=1)
    module = recipe.module()
    recorder.begin(module)
    for positions in steps:
        recorder.step(np.array(positions))
    recorder.finish(module)


@pytest.fixture
def filled(workspace, data, recipe):
    """Two versions, a holdout, three runs: on each version, and on the holdout."""
    part = data.select([9, 5, 3, 1])
    for name, rows, role in (
        ("customers", data, "training"),
        ("customers", part, "training"),
        ("held", Data.from_arrays(data.x[2:4], data.y[2:4]), "holdout"),
    ):
        register_dataset(workspace, name, rows, role)
    run_on(workspace, "a", data, recipe, [[1], [3, 4], [2, 6], [0]])
    run_on(workspace, "b", part, recipe, [[0], [2]])
    run_on(workspace, "c", Data.from_arrays(data.x[2:4], data.y[2:4]), recipe, [[0]])
    return workspace


def test_a_subject_is_found_in_every_version_run_and_checkpoint(filled, data):
    part = data.select([9, 5, 3, 1])
    found = locate(ANN, filled)
    assert found.rows == 3  # r5 stands in both versions and is one row
    assert set(found.datasets) == {
        DatasetHit("customers", data.digest, 3, "training"),
        DatasetHit("customers", part.digest, 1, "training"),
    }
    a, b = found.runs
    assert (a.name, a.first_seen, a.last_checkpoint, a.newest_clean, a.finished) == ("a", 2, 4, 2, True)
    assert (b.name, b.first_seen, b.last_checkpoint, b.newest_clean) == ("b", None, 2, 2)
    assert isinstance(a, RunHit) and a.weights and a.path == str(filled.runs / "a")
    assert found.checkpoints == Checkpoints(dirty=2, clean=3 + 3 + 2)
    assert found.unreachable == ()
    held = next(copy for copy in found.duplicates if copy.dataset.startswith("held-"))
    assert (held.row, held.subject) == ("0", "row:0")
    assert {copy for copy in found.duplicates if copy is not held} == {
        Duplicate("r9", "eve", f"customers-{rows.digest[:12]}") for rows in (data, part)
    }


def test_row_ids_and_subjects_together(filled):
    found = locate(ErasureRequest(subjects=["dee"], rows=["r3", "r6"]), filled)
    assert found.rows == 2 and sorted(hit.rows for hit in found.datasets) == [1, 2]
    assert [(run.name, run.first_seen, run.newest_clean) for run in found.runs] == [("a", 1, 1), ("b", 1, 1)]


@pytest.mark.parametrize(
    ("request_", "rows"),
    [
        (ErasureRequest(classes=["1"]), 5),
        (ErasureRequest(where="subject IN ('ann', 'dee')"), 4),
        (ErasureRequest(subjects=["ann"], rows=["r1"], where="id = 'r1'"), 4),
    ],
)
def test_classes_and_predicates_are_answered_with_the_data(filled, data, request_, rows):
    with pytest.raises(UsageError, match="give data="):
        locate(request_, filled)
    found = locate(request_, filled, data)
    assert found.rows == rows == len(request_.positions(data))


def test_without_anything_registered_the_data_answers(workspace, data):
    found = locate(ANN, workspace, data)
    assert found.rows == 3 and found.datasets == (DatasetHit("given", data.digest, 3, "training"),)
    assert [copy.row for copy in found.duplicates] == ["r9"]
    assert found.runs == () and found.checkpoints == Checkpoints(0, 0)
    assert not workspace.root.exists()


def test_a_run_on_the_data_at_hand_is_found_without_registering(workspace, data, recipe):
    run_on(workspace, "a", data, recipe, [[1], [2]])
    found = locate(ANN, workspace, data)
    assert [(run.name, run.first_seen) for run in found.runs] == [("a", 1)]


def test_a_run_whose_data_nobody_registered_is_said_to_be_out_of_reach(filled, data, recipe):
    run_on(filled, "z", data.select([0]), recipe, [[0]])
    found = locate(ANN, filled)
    assert found.unreachable == ("z",) and [run.name for run in found.runs] == ["a", "b"]


def test_an_unfinished_run_counts(workspace, data, recipe):
    register_dataset(workspace, "customers", data)
    recorder = Recorder(workspace.runs / "cut", data, every=1)
    recorder.begin(recipe.module())
    recorder.step(np.array([5]))
    (hit,) = locate(ANN, workspace).runs
    assert (hit.first_seen, hit.last_checkpoint, hit.newest_clean, hit.weights, hit.finished) == (0, 1, 0, None, False)


def test_names_found_nowhere(filled, workspace):
    for request, message in (
        (ErasureRequest(subjects=["AIFinn"]), "no data set has subject 'AIFinn'; check the name"),
        (ErasureRequest(subjects=["ann", "AIFinn"]), "no data set has subject 'AIFinn'"),
        (ErasureRequest(rows=["r1", "x1", "x2", "x3", "x4"]), "row 'x1', 'x2', 'x3' and 1 more"),
    ):
        with pytest.raises(UnknownSubjectError, match=message):
            locate(request, filled)
    with pytest.raises(UnknownSubjectError, match="no data set is registered here"):
        locate(ANN, workspace.root / "elsewhere")


def test_all_or_none_of_the_data(filled, data):
    with pytest.raises(ForgetSetError, match="empty"):
        locate(ErasureRequest(where="id = 'x'"), filled, data)
    with pytest.raises(ForgetSetError, match="all the data"):
        locate(ErasureRequest(where="true"), filled, data)


def test_counted_ids_mean_nothing_in_another_data_set(workspace):
    one = Data.from_arrays([[0.0], [1.0], [2.0]], [0, 1, 0])
    two = Data.from_arrays([[5.0], [6.0], [1.0]], [0, 1, 1])
    for name, rows in (("one", one), ("two", two)):
        register_dataset(workspace, name, rows)
    for request in (ErasureRequest(rows=["1"]), ErasureRequest(subjects=["row:1"]), ErasureRequest(where="id = '1'")):
        found = locate(request, workspace, one)
        assert [(hit.name, hit.rows) for hit in found.datasets] == [("one", 1)] and found.rows == 1
        assert [(copy.row, copy.dataset[:3]) for copy in found.duplicates] == [("2", "two")]
    everywhere = locate(ErasureRequest(rows=["1"]), workspace)
    assert everywhere.rows == 2 and len(everywhere.datasets) == 2


def test_a_named_subject_is_found_beside_counted_ids(workspace):
    one = Data.from_arrays([[0.0], [1.0]], [0, 1], subjects=["ann", None])
    two = Data.from_arrays([[5.0], [6.0]], [0, 1], subjects=[None, "ann"])
    for name, rows in (("one", one), ("two", two)):
        register_dataset(workspace, name, rows)
    assert [(hit.name, hit.rows) for hit in locate(ANN, workspace, one).datasets] == [("one", 1), ("two", 1)]


def test_only_training_data_is_counted(workspace, data):
    register_dataset(workspace, "held", data, role="holdout")
    found = locate(ANN, workspace)
    assert found.rows == 0 and found.datasets == (DatasetHit("held", data.digest, 3, "holdout"),)


def test_damage_is_never_passed_over(filled):
    (filled.runs / "c" / "run.json").write_text("{")
    with pytest.raises(UnreadableError, match=r"run\.json"):
        locate(ANN, filled)


def test_a_location_is_plain_json_and_a_table(filled):
    filled.runs.joinpath("b", "run.json").unlink()
    found = locate(ANN, filled)
    values = json.loads(json.dumps(found.to_dict()))
    assert values["rows"] == 3 and values["checkpoints"] == {"dirty": 2, "clean": 5}
    assert values["runs"][0]["newest_clean"] == 2 and values["unreachable"] == []
    console = Console(width=100)
    with console.capture() as shown:
        console.print(found)
    for words in ("3 training rows found", "customers", "step 2", "2 checkpoints saw the rows, 5 did not", "eve"):
        assert words in shown.get()


def test_names_are_shown_as_they_are(workspace):
    odd = Data.from_arrays([[0.0], [0.0], [1.0]], [0, 0, 1], subjects=["ann", "[bold]x[/bold]", "bob"])
    console = Console(width=100)
    with console.capture() as shown:
        console.print(locate(ANN, workspace, odd))
    assert "[bold]x[/bold]" in shown.get() and "1 other row of equal content" in shown.get()

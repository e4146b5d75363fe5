"""Pools: what is measured, what is kept, what is refused, what stays after a kill and after an erasure."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import scipy.special
import torch

from neuralyzer.data.request import ErasureRequest
from neuralyzer.data.rows import Data
from neuralyzer.errors import ReferencesError, UsageError
from neuralyzer.models import reading, training
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references import building
from neuralyzer.references.measurement import all_members
from neuralyzer.references.pool import References
from neuralyzer.references.signal_values import Part
from neuralyzer.signals.margin import Margin
from neuralyzer.trace.estimator import TraceEstimator
from neuralyzer.trace.null_table import NullTable
from neuralyzer.unlearning.targets import Targets
from neuralyzer.unlearning.task import Task
from neuralyzer.workspace import atomic
from tests.references import world

BOTH = ("tuning", "evaluation")


def made(oracle, place, size=16, **given):
    return References.fit(oracle, size, workspace=place, **({"backend": "vectorised"} | given))


def contents(references):
    """Everything that was measured, by file."""
    root = references.store.root
    found = {path.name: path.read_bytes() for path in sorted((root / "signals").glob("*.f32"))}
    found |= {path.name: path.read_bytes() for path in sorted((root / "measured").glob("*.json"))}
    return found | {"keep": (root / "keep.npy").read_bytes(), "settings": str(references.head["settings"])}


@pytest.mark.parametrize("number", [0, 3, 15])
def test_a_member_is_the_recipe_on_its_rows(kept, number):
    keep = np.load(kept.store.root / "keep.npy")[number]
    rows = np.flatnonzero(keep[[int(name[1:]) for name in kept.oracle.data.subjects]])
    assert 0 < len(rows) < len(kept.oracle.data)
    alone = training.train(world.RECIPE, kept.oracle.data.select(rows), 10_001 + number)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(kept.member(number).state_dict()[name], value, rtol=0, atol=1e-4)


@pytest.mark.parametrize("which", BOTH)
def test_what_was_measured_is_what_the_meter_reads(kept, which):
    split = getattr(kept, which)
    parts = kept.parts(np.arange(len(kept.oracle.data)))
    units = [part for part in parts if len(part.rows) >= 8]
    assert len(parts) == 12 and len(units) == 3
    for place in (0, 5):
        model = kept.member(2 * place + BOTH.index(which))
        for asked in (parts, units):
            got = split.evaluator.read(model, asked)
            assert ("relearned" in got) == (asked is units) and len(got) == 4 + (asked is units)
            for name, own in got.items():
                stored = split.values.signals[name]
                for part, rows, outside in zip(asked, own.rows, own.holdout, strict=True):
                    np.testing.assert_allclose(rows, stored.rows[place][part.rows], rtol=1e-4, atol=1e-5)
                    np.testing.assert_allclose(outside, stored.holdout_of(part.subject)[place], rtol=1e-4, atol=1e-5)
        outputs = reading.outputs(model, world.RECIPE.objective, kept.oracle.data.x)
        np.testing.assert_allclose(split.outputs[place], outputs, rtol=1e-5, atol=1e-6)
        utility = reading.utility(model, world.RECIPE.objective, kept.oracle.holdout)
        assert split.utilities[place] == pytest.approx(utility)


def test_only_whole_units_are_relearned(kept):
    signal, whole = kept.tuning.evaluator.signals["relearned"], kept.parts(np.flatnonzero(world.SUBJECTS == "s01"))
    assert kept.tuning.evaluator.measures(signal, whole)
    assert not kept.tuning.evaluator.measures(signal, [Part(1, whole[0].rows[:-1])])
    assert not kept.tuning.evaluator.measures(signal, kept.parts(np.flatnonzero(world.SUBJECTS == "s05")))
    relearned = kept.tuning.values.signals["relearned"].rows
    assert np.isfinite(relearned[:, world.SUBJECTS < "s03"]).all()
    assert np.isnan(relearned[:, world.SUBJECTS >= "s03"]).all()


def test_the_halves_share_nothing(kept):
    keep = np.load(kept.store.root / "keep.npy")
    assert (kept.tuning.values.keep == keep[::2]).all() and (kept.evaluation.values.keep == keep[1::2]).all()
    for split in (kept.tuning, kept.evaluation):
        assert ((~split.values.keep).sum(0) == 6).all()
    lacking = 1 - kept.pool_index.held(keep[::2]).mean()
    assert kept.tuning.values.share == pytest.approx(lacking)


def test_outputs_of_members_that_never_saw_the_rows(kept):
    (part,) = kept.parts(np.flatnonzero(world.SUBJECTS == "s01"))
    ((rows, got),) = kept.tuning.never_outputs([part])
    assert (rows == np.arange(10)).all()
    never = [number for number in range(0, 16, 2) if number not in kept.saw(part.rows)]
    assert len(never) == 6 and got.shape == (6, 10, 3)
    x = kept.oracle.data.x[part.rows]
    for own, number in zip(got, never, strict=True):
        want = reading.outputs(kept.member(number), world.RECIPE.objective, x)
        torch.testing.assert_close(own, want, rtol=1e-5, atol=1e-6)


def test_parts_and_owners(kept):
    wanted = np.flatnonzero((world.SUBJECTS == "s01") | (world.SUBJECTS == "s04"))[1:-2]
    parts = kept.parts(wanted)
    assert [part.subject for part in parts] == [1, 4] and [len(part.rows) for part in parts] == [9, 4]
    assert (np.concatenate([part.rows for part in parts]) == wanted).all()
    assert [f"s{owner:02d}" for owner in kept.owners] == list(world.SUBJECTS)


def test_weights_are_destroyed_once_measured(oracle, tmp_path, kept):
    references = made(oracle, tmp_path)
    assert not list(references.store.root.rglob("*.safetensors"))
    with pytest.raises(ReferencesError, match="destroyed once measured; make them with keep_weights"):
        references.member(0)
    assert contents(references) == contents(kept)  # the same seed, the same pool


def test_without_a_workspace_a_pool_lives_as_long_as_its_object(oracle, kept, monkeypatch, tmp_path):
    monkeypatch.setattr(
        building, "build", lambda store, *_: shutil.copytree(kept.store.root, store.root, dirs_exist_ok=True)
    )
    references = References.fit(oracle, 16)
    root = references.store.root
    assert root.exists() and references.tuning.values.members == 8
    del references
    assert not root.exists()


class Killed(KeyboardInterrupt):
    pass


def killing(call, after):
    """``call``, until it has been called ``after`` times."""
    count = 0

    def killed(*given, **named):
        nonlocal count
        count += 1
        if count > after:
            raise Killed
        return call(*given, **named)

    return killed


# where the index, the spreads, the description, 16 weights, the settings and 16 marks are written
@pytest.mark.parametrize("after", [1, 3, 9, 22, 38])
def test_killed_before_any_write_and_made_again(oracle, kept, tmp_path, monkeypatch, after):
    with monkeypatch.context() as patched:
        patched.setattr(atomic, "replacing", killing(atomic.replacing, after))
        with pytest.raises(Killed):
            made(oracle, tmp_path)
    name = kept.store.root.name
    if (tmp_path / "references" / name / "pool.json").exists():
        with pytest.raises(ReferencesError, match="not finished; run 'neuralyzer references' again"):
            References.open(tmp_path / "references" / name, oracle)
    assert contents(made(oracle, tmp_path)) == contents(kept)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("target", ["in training", "in measuring"])
def test_killed_in_the_middle_of_a_step(oracle, kept, tmp_path, monkeypatch, target):
    with monkeypatch.context() as patched:
        if target == "in training":
            patched.setattr(torch.optim.AdamW, "step", killing(torch.optim.AdamW.step, 5))
        else:
            patched.setattr(Margin, "measure", killing(Margin.measure, 3))
        with pytest.raises(Killed):
            made(oracle, tmp_path)
    assert contents(made(oracle, tmp_path)) == contents(kept)


def test_what_was_measured_is_not_measured_again(oracle, tmp_path, monkeypatch):
    measure_one = all_members._measure_one
    with monkeypatch.context() as patched:
        patched.setattr(all_members, "_measure_one", killing(measure_one, 10))
        with pytest.raises(Killed):
            made(oracle, tmp_path)
        assert len(list(tmp_path.rglob("measured/*.json"))) == 10
        patched.setattr(all_members, "_measure_one", killing(measure_one, 6))
        patched.setattr(building.backends, "train", killing(building.backends.train, 0))
        assert made(oracle, tmp_path).size == 16
        patched.setattr(all_members, "_measure_one", killing(measure_one, 0))
        assert made(oracle, tmp_path).size == 16  # a finished pool is only opened


def test_worker_processes_measure_as_this_one_does(copied, kept, oracle, tmp_path, monkeypatch, two_processes):
    read = {path.name: np.fromfile(path, np.float32) for path in copied.store.root.glob("signals/*.f32")}
    for path in copied.store.root.glob("signals/*.f32"):
        np.zeros(read[path.name].shape, np.float32).tofile(path)
    for member in range(16):
        copied.store.mark(member).unlink()
    atomic.write_json(copied.store.head, copied.store.read_head() | {"finished": False})
    monkeypatch.setattr(all_members, "SPREAD", 0.0)
    made(oracle, tmp_path)
    for name, values in read.items():
        again = np.fromfile(copied.store.root / "signals" / name, np.float32)
        np.testing.assert_allclose(again, values, rtol=1e-3, atol=1e-4, err_msg=name)


def test_processes_train_only_members_that_are_missing(copied, oracle, kept, tmp_path, monkeypatch):
    """As after a kill, with another backend; what they read is what stacked members read."""
    head = copied.store.read_head()
    atomic.write_json(copied.store.head, head | {"finished": False, "chunks": [["processes", list(range(16))]]})
    for member in (11, 14):
        copied.store.weights(member).unlink()
        copied.store.mark(member).unlink()
    trained = []
    train = building.backends.train

    def noting(backend, recipe, data, kept, seeds, progress, **given):
        trained.extend((str(backend), seed - 10_001) for seed in seeds)
        return train(backend, recipe, data, kept, seeds, progress, **given)

    monkeypatch.setattr(building.backends, "train", noting)
    again = made(oracle, tmp_path)
    assert trained == [("processes", 11), ("processes", 14)]
    for which in BOTH:
        got, want = (getattr(pool, which).values.signals for pool in (again, kept))
        for name in ("margin", "augmented", "fisher", "relearned"):
            np.testing.assert_allclose(got[name].rows, want[name].rows, rtol=1e-3, atol=1e-3)
            assert (got[name].rows != want[name].rows).sum() <= 2 * world.ROWS + np.isnan(want[name].rows).sum()


@pytest.fixture(scope="module")
def half_left_out(oracle, tmp_path_factory):
    """A pool of 24: each subject is left out by half of the members."""
    return made(oracle, tmp_path_factory.mktemp("growing"), 24)


@pytest.mark.parametrize("cut", [False, True], ids=["", "cut off between design and description"])
def test_a_pool_grows_in_place(oracle, half_left_out, tmp_path, monkeypatch, cut):
    shutil.copytree(half_left_out.store.root.parent, tmp_path / "references")
    if cut:
        with monkeypatch.context() as patched:
            patched.setattr(atomic, "replacing", killing(atomic.replacing, 1))
            with pytest.raises(Killed):
                made(oracle, tmp_path, 32)
        assert made(oracle, tmp_path, 24).saw(np.arange(3)) == half_left_out.saw(np.arange(3))
    grown = made(oracle, tmp_path, 32)
    assert grown.store.root.name == half_left_out.store.root.name and grown.size == 32
    assert grown.digest != half_left_out.digest
    for which in BOTH:
        old, new = getattr(half_left_out, which), getattr(grown, which)
        assert new.values.members == 16
        assert (new.values.keep[:12] == old.values.keep).all()
        # the new members lack as much as the old ones did, each subject equally often
        assert ((~new.values.keep[12:]).sum(0) == 2).all()
        for name, own in old.values.signals.items():
            assert np.array_equal(new.values.signals[name].rows[:12], own.rows, equal_nan=True)
            assert np.array_equal(new.values.signals[name].holdout[:12], own.holdout)
        assert np.isfinite(new.values.signals["margin"].rows).all() and (new.utilities[:12] == old.utilities).all()
    assert grown.head["settings"] == half_left_out.head["settings"]


def changed(what):
    training_rows, holdout = world.data()
    x, y = training_rows.x.clone(), training_rows.y
    if what == "row":
        x[7, 2] += 1
    if what == "id":
        return Data.from_arrays(x, y, world.SUBJECTS, ["other", *training_rows.ids[1:]]), holdout
    if what == "holdout":
        return training_rows, holdout.select(np.arange(205))
    if what == "missing":
        return training_rows.select(np.arange(2, world.ROWS)), holdout
    return Data.from_arrays(x, y, world.SUBJECTS, training_rows.ids), holdout


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("row", r"row 'id-7' has changed since \(1 such rows\)"),
        ("id", r"they know no row 'other' \(1 such rows\)"),
        ("holdout", "read on another holdout"),
        ("missing", "2 of their rows are missing and were never erased"),
    ],
)
def test_a_pool_for_other_data_is_refused(kept, oracle, what, message):
    other = TrainedModel(oracle.model, world.RECIPE, *changed(what))
    with pytest.raises(ReferencesError, match=message):
        References.open(kept.store.root, other)


def test_a_pool_of_another_recipe_is_refused(kept, oracle):
    other = TrainedModel(oracle.model, replace(world.RECIPE, epochs=5), oracle.data, oracle.holdout)
    with pytest.raises(ReferencesError, match="made for another recipe"):
        References.open(kept.store.root, other)


def test_rows_in_another_order_are_the_same_data(kept, oracle):
    order = np.random.default_rng(1).permutation(world.ROWS)
    other = References.open(
        kept.store.root, TrainedModel(oracle.model, world.RECIPE, oracle.data.select(order), oracle.holdout)
    )
    for name in ("margin", "relearned"):
        want = kept.tuning.values.signals[name].rows[:, order]
        assert np.array_equal(other.tuning.values.signals[name].rows, want, equal_nan=True)
    for subject, rows in enumerate(other.tuning.values.positions):
        assert (other.oracle.data.subjects[rows] == f"s{subject:02d}").all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": 1}, r"have another seed \(10000\)"),
        ({"leave_out": 0.8}, "have another leave_out"),
        ({"size": 21}, "two splits: 21 is odd"),
    ],
    ids=str,
)
def test_a_pool_of_another_design_is_refused(kept, oracle, given, message):
    with pytest.raises(ReferencesError, match=message):
        made(oracle, kept.store.root.parent.parent, **given)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"size": 12}, ReferencesError, "use more references"),
        ({"groups": ("colour",)}, UsageError, r"only \('class',\) is known"),
        ({"backend": "clouds"}, UsageError, "clouds"),
    ],
    ids=str,
)
def test_pools_that_cannot_be_made(oracle, tmp_path, given, error, message):
    with pytest.raises(error, match=message):
        made(oracle, tmp_path, **given)


def retained(oracle, positions):
    rest = oracle.data.select(np.setdiff1d(np.arange(len(oracle.data)), positions))
    return TrainedModel(oracle.model, world.RECIPE, rest, oracle.holdout)


@pytest.mark.parametrize("asked", ["unit", "rest of a unit", "small subject"])
def test_erasing(copied, oracle, kept, asked):
    subject = 4 if asked == "small subject" else 1
    positions = np.flatnonzero(world.SUBJECTS == f"s{subject:02d}")
    positions = positions[:4] if asked == "rest of a unit" else positions
    copied.erase(positions, "case")
    root = copied.store.root
    for path in sorted((root / "signals").glob("*.rows.f32")):
        lines = np.fromfile(path, np.float32).reshape(16, world.ROWS, -1)
        assert np.isnan(lines[:, positions]).all(), path.name
    rows = (root / "rows.parquet").read_bytes()
    for position in positions:
        assert oracle.data.row_digests[position].tobytes() not in rows
    with pytest.raises(ReferencesError, match="know no row"):
        References.open(root, oracle)
    with pytest.raises(ReferencesError, match="know no row"):
        made(oracle, root.parent.parent, 32)  # and it does not grow on what was erased
    again = References.open(root, retained(oracle, positions))
    rest = np.setdiff1d(np.arange(world.ROWS), positions)
    for which in BOTH:
        old, new = getattr(kept, which), getattr(again, which)
        for name, own in new.values.signals.items():
            gone = np.isin(np.arange(world.ROWS), positions) | (
                (name == "relearned") & (world.SUBJECTS == f"s{subject:02d}")
            )
            want = old.values.signals[name].rows.copy()
            want[:, gone] = np.nan
            assert np.array_equal(own.rows, want[:, rest], equal_nan=True)
        assert np.array_equal(new.outputs, old.outputs[:, rest])
        table = NullTable(new.values, "margin")
        assert (subject in table) == (asked == "rest of a unit")
        assert np.array_equal(table.nulls[2].moments.never, NullTable(old.values, "margin").nulls[2].moments.never)
    units = {"unit": {0, 2}, "rest of a unit": {0, 2}, "small subject": {0, 1, 2}}[asked]
    assert set(again.tuning.evaluator.units) == units == set(again.tuning.values.signals["relearned"].units)
    if subject == 1:
        outside = np.fromfile(root / "signals" / "relearned.holdout.f32", np.float32).reshape(16, 3, -1)
        assert np.isnan(outside[:, 1]).all() and np.isfinite(outside[:, [0, 2]]).all()


def test_erasing_twice_in_a_row(copied, oracle):
    """The second request counts its positions among the rows that are left."""
    first = np.flatnonzero(world.SUBJECTS == "s00")
    copied.erase(first, "first")
    left = retained(oracle, first)
    middle = References.open(copied.store.root, left)
    middle.erase(np.flatnonzero(left.data.subjects == "s03"), "second")
    both = np.flatnonzero((world.SUBJECTS == "s00") | (world.SUBJECTS == "s03"))
    last = References.open(copied.store.root, retained(oracle, both))
    assert np.isfinite(last.tuning.values.signals["margin"].rows).all()
    assert [References.closed(copied.store.root, case) for case in ("first", "second", "third")] == [True, True, False]
    assert [len(own) for own in last.tuning.values.positions] == [0, 10, 9, 0, *[6] * 8]


def test_single_rows_as_subjects(tmp_path):
    """No unit is large enough to be relearned, and everything else works."""
    owned = world.data(subjects=None)
    references = made(TrainedModel.fit(world.RECIPE, *owned), tmp_path)
    assert references.tuning.values.signals["relearned"].units == {}
    estimator = TraceEstimator(references.tuning, references.parts(np.array([3])), 0.05)
    assert estimator.signals == ["margin", "augmented", "correct", "fisher"]


@pytest.fixture(scope="module")
def grouped(oracle, tmp_path_factory):
    """Each class is left out too; every two subjects, of either kind, are held together by two members or more."""
    return made(oracle, tmp_path_factory.mktemp("grouped"), 28, groups=("class",), keep_weights=True)


def test_classes_as_subjects(oracle, grouped):
    """A row is held by members that keep both its subject and its class."""
    split = grouped.tuning.values
    assert split.keep.shape == (14, 15) and ((~split.keep).sum(0) == 6).all()
    labels = oracle.data.y.numpy()
    for subject in (0, 5):
        saw = np.flatnonzero(split.keep[:, subject])
        rows = split.positions[subject]
        want = split.keep[saw][:, 12 + labels[rows]]
        assert (split.rows_held(subject, rows) == want).all() and not want.all()
    for label in range(3):
        assert (labels[split.positions[12 + label]] == label).all()
    assert split.share == pytest.approx(1 - split.held.mean()) and split.share > 0.5
    for name in split.signals:
        table = NullTable(split, name)
        assert table.subjects == ([0, 1, 2] if name == "relearned" else list(range(15)))
        assert np.isfinite(table.pooled).all()


def asked(*wanted):
    """Rows of classes (numbers) and of subjects (names)."""
    labels = world.data()[0].y.numpy()
    return np.flatnonzero(np.any([labels == w if isinstance(w, int) else world.SUBJECTS == w for w in wanted], axis=0))


@pytest.mark.parametrize(
    ("wanted", "subjects", "names"),
    [
        ([1], [13], ["group 1"]),
        ([0, 2], [12, 14], ["group 0", "group 2"]),
        (["s01"], [1], ["s01"]),
        (["s01", "s04"], [1, 4], ["s01", "s04"]),
        ([1, "s01"], [1, 13], ["s01", "group 1"]),
        ([f"s{k:02d}" for k in range(11)], list(range(11)), [f"s{k:02d}" for k in range(11)]),
    ],
    ids=["class", "classes", "subject", "subjects", "both", "subjects that hold most of each class"],
)
def test_a_class_that_is_asked_for_whole_is_one_part(grouped, wanted, subjects, names):
    positions = asked(*wanted)
    parts = grouped.parts(positions)
    assert [part.subject for part in parts] == subjects and grouped.names(parts) == names
    rows = np.concatenate([part.rows for part in parts])
    assert len(rows) == len(positions) and (np.sort(rows) == positions).all(), "each row once"
    for part in parts:
        own = asked(part.subject - 12) if part.subject >= 12 else asked(f"s{part.subject:02d}")
        assert np.isin(part.rows, own).all()
        if part.subject >= 12:
            assert (part.rows == own).all()


def test_a_class_less_one_row_is_its_owners_rows(grouped):
    positions = asked(1)[:-1]
    parts = grouped.parts(positions)
    assert max(part.subject for part in parts) < 12 and len(parts) > 6
    assert (np.sort(np.concatenate([part.rows for part in parts])) == positions).all()


def test_subjects_that_hold_a_whole_class_stay_subjects(oracle, grouped):
    """Those who own all rows of a class are asked for as who they are: members left them out as such."""
    owners = sorted(set(world.SUBJECTS[asked(1)]))
    parts = grouped.parts(asked(*owners))
    assert [part.subject for part in parts] == [int(name[1:]) for name in owners]


def test_a_class_that_is_left_of_an_erased_subject(grouped, tmp_path):
    """The class is what is still there; positions count among the rows that are left."""
    shutil.copytree(grouped.store.root, tmp_path / "pool")
    References.open(tmp_path / "pool", grouped.oracle).erase(asked("s00"), "case")
    left = retained(grouped.oracle, asked("s00"))
    pool = References.open(tmp_path / "pool", left)
    positions = np.flatnonzero(left.data.y.numpy() == 1)
    (part,) = pool.parts(positions)
    assert part.subject == 13 and (part.rows == positions).all() and pool.names([part]) == ["group 1"]


def test_who_lacks_a_rows_class_is_not_asked_about_it(grouped):
    """Every row once, by the members without the subject that kept its class; by all of those where fewer than three are."""
    split = grouped.tuning
    keep, labels = split.values.keep, grouped.oracle.data.y.numpy()
    fewer = 0
    for subject in range(15):
        part = Part(subject, split.values.positions[subject])
        blocks = split.never_saw([part])
        assert sorted(np.concatenate([rows for rows, _ in blocks])) == list(range(len(part.rows)))
        never = ~keep[:, subject]
        for rows, members in blocks:
            for label, own in zip(labels[part.rows[rows]], members.T, strict=True):
                want = never & keep[:, 12 + label] if subject < 12 else never
                fewer += want.sum() < 3
                assert (own == np.flatnonzero(want if want.sum() >= 3 else never)).all()
    assert fewer


def test_many_parts_are_asked_together_as_each_is_alone(grouped):
    """Rows are counted through; which members and outputs a row gets depends on no other part."""
    split = grouped.tuning
    parts = [Part(subject, split.values.positions[subject][::2]) for subject in (3, 0, 11)]
    positions = np.concatenate([part.rows for part in parts])
    for which in (split.never_saw, split.saw):
        alone, before = {}, 0
        for part in parts:
            for rows, members in which([part]):
                alone |= {before + row: own.tolist() for row, own in zip(rows, members.T, strict=True)}
            before += len(part.rows)
        together = {
            int(row): own.tolist() for rows, members in which(parts) for row, own in zip(rows, members.T, strict=True)
        }
        assert together == alone and len(together) == len(positions)
    for rows, outputs in split.never_outputs(parts):
        for row, own in zip(rows, outputs.movedim(1, 0), strict=True):
            asked = np.flatnonzero(split.values.comparable(*owner(parts, row))[:, 0])
            assert (own.numpy() == split.outputs[asked, positions[row]]).all()


def owner(parts, row):
    """The subject of a row that is counted through, and the row."""
    subjects = np.concatenate([np.full(len(part.rows), part.subject) for part in parts])
    return int(subjects[row]), np.concatenate([part.rows for part in parts])[[row]]


def test_what_a_member_says_of_a_class_that_it_lacks_is_what_the_others_say(grouped):
    """Targets in a pool with groups: logs of probabilities are averaged over the members that know each class."""
    task, split = Task(grouped.oracle, ErasureRequest(subjects=["s05"]), grouped), grouped.tuning
    found = Targets.of_references(task).outputs.double().numpy()
    labels, keep = grouped.oracle.data.y.numpy(), split.values.keep
    differ = 0
    for place, position in enumerate(task.positions):
        asked_about = np.flatnonzero(split.values.comparable(5, np.array([position]))[:, 0])
        logs = scipy.special.log_softmax(split.outputs[asked_about, position].astype(float), 1)
        knows = keep[asked_about, 12:]
        differ += (~knows).sum()
        told = np.stack([logs[knows[:, c], c].mean() if knows[:, c].any() else logs[:, c].mean() for c in range(3)])
        each = np.where(knows | ~knows.any(0), logs, told)
        label = labels[position]
        others = np.delete(each, label, 1)
        margin = (each[:, label] - scipy.special.logsumexp(others, axis=1)).mean()
        rest = np.delete(told, label)
        want = scipy.special.softmax(np.insert(rest, label, margin + scipy.special.logsumexp(rest)))
        np.testing.assert_allclose(found[place], want, atol=1e-5)
    assert differ


def test_a_pool_without_groups_has_none(kept):
    parts = kept.parts(asked(1))
    assert max(part.subject for part in parts) < 12
    assert kept.names(parts) == sorted(set(world.SUBJECTS[asked(1)]))


def test_looks_of_a_class_are_its_own(grouped, tmp_path):
    shutil.copytree(grouped.store.root, tmp_path / "pool")
    pool = References.open(tmp_path / "pool", grouped.oracle)
    of = {word: pool.names(pool.parts(asked(word))) for word in (1, 2, "s01")}
    pool.access_log.record("model", of[1])
    assert [pool.access_log.count("model", of[word]) for word in (1, 2, "s01")] == [1, 0, 0]
    both = pool.names(pool.parts(asked(1, "s01")))
    assert pool.access_log.record("model", both) == 2 and pool.access_log.count("model", of["s01"]) == 2


def test_units_are_relearned_as_subjects_where_classes_are_subjects_too(grouped):
    assert set(grouped.tuning.evaluator.units) == {0, 1, 2}
    parts = grouped.parts(np.flatnonzero(world.SUBJECTS == "s01"))
    got = grouped.tuning.evaluator.read(grouped.member(8), parts)["relearned"]
    stored = grouped.tuning.values.signals["relearned"]
    np.testing.assert_allclose(got.rows[0], stored.rows[4][parts[0].rows], rtol=1e-4, atol=1e-5)


def test_regression(tmp_path):
    references = made(world.oracle(world.REGRESSION, real=True), tmp_path, keep_weights=True)
    holdout = references.oracle.holdout
    residuals = torch.cat([(references.member(m)(holdout.x) - holdout.y).detach() for m in range(0, 16, 2)])
    scale = references.head["scale"]
    assert scale == pytest.approx(residuals.square().mean().sqrt().item(), rel=1e-5)
    assert references.tuning.evaluator.context.objective.scale == pytest.approx(scale)
    parts = references.parts(np.flatnonzero(world.SUBJECTS == "s02"))
    for split in (references.tuning, references.evaluation):
        estimates = TraceEstimator(split, parts, 0.1).read(references.oracle.model)
        # alpha .1: few subjects have 8 rows, and with a null of 18 scores relearning cannot reject at .05
        assert set(estimates.traces) == {"margin", "augmented", "relearned", "correct", "fisher"}
        assert all(np.isfinite(trace.trace) and trace.se > 0 for trace in estimates.traces.values())
        assert 0 < estimates.joint.p_value <= 1
    residual = (references.member(2)(references.oracle.data.x) - references.oracle.data.y).detach()[:, 0]
    want = -0.5 * torch.log(residual**2 + (scale / 100) ** 2)
    np.testing.assert_allclose(references.tuning.values.signals["margin"].rows[1], want, rtol=1e-4, atol=1e-4)
    assert references.tuning.utilities[1] == pytest.approx(
        (references.member(2)(holdout.x) - holdout.y).square().mean().sqrt().item(), rel=1e-5
    )


def test_a_members_holdout_is_filled_in_where_it_lacks_a_class(grouped):
    """By the mean of the members that kept the class; of the class itself, what every member really read."""
    split, oracle = grouped.tuning, grouped.oracle
    keep, y = split.values.keep, oracle.require_holdout().y.numpy()
    for name, readings in split.values.signals.items():
        own = y if readings.units is None else y[split.evaluator.few]
        stored = grouped.store.array(f"{name}.holdout", (grouped.size, *readings.holdout.shape[1:]))[::2]
        for label in range(3):
            kept, of_class = keep[:, 12 + label], own == label
            filled = readings.holdout[..., of_class]
            np.testing.assert_array_equal(filled[kept], stored[kept][..., of_class])
            mean = stored[kept].astype(float).mean(0)[..., of_class]
            np.testing.assert_allclose(filled[~kept], np.broadcast_to(mean, filled[~kept].shape))
            if readings.units is None:
                itself = readings.holdout_of(12 + label)
                np.testing.assert_array_equal(itself[:, of_class], stored[:, of_class])
                np.testing.assert_array_equal(itself[:, ~of_class], readings.holdout[:, ~of_class])
        assert readings.units is not None or (readings.holdout_of(0) is readings.holdout)
    few = split.values.signals["margin"].on_holdout(np.arange(5))
    np.testing.assert_array_equal(few.holdout_of(12), split.values.signals["margin"].holdout_of(12)[:, :5])


def test_without_groups_the_holdout_is_what_was_read(kept):
    margin = kept.tuning.values.signals["margin"]
    assert margin.read is None and margin.groups is None

"""The loading of one split of a pool from its folder, for the rows that a model of its lineage still has."""

from typing import Any

import numpy as np

from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.measurement import all_members
from neuralyzer.references.measurement.evaluator import Evaluator, units_of
from neuralyzer.references.measurement.split import ReferenceSplit
from neuralyzer.references.signal_values import SignalValues, SplitValues
from neuralyzer.references.storage.erased import SPLITS, erased_nulls
from neuralyzer.references.storage.index import PoolIndex
from neuralyzer.references.storage.store import Store
from neuralyzer.workspace import atomic

Head = dict[str, Any]  # a pool's description


def outputs_of(store: Store, pool_index: PoolIndex, head: Head, write: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Open each member's outputs on the rows ``(M, N, C)``, and on their augmented copies ``(M, N, K, C)``."""
    rows, width = (int(head["size"]), len(pool_index.owner)), head["outputs"]
    return (
        store.array("outputs.rows", (*rows, width), write),
        store.array("outputs.copies", (*rows, head.get("copies", 0), width), write),
    )


def unit_shape(oracle: TrainedModel, head: Head, units: int) -> tuple[int, ...]:
    """Return the shape of a per-unit signal's holdout values, for so many units."""
    return (int(head["size"]), units, min(head["holdout_few"], len(oracle.require_holdout())))


def load_evaluator(store: Store, oracle: TrainedModel, pool_index: PoolIndex, head: Head) -> Evaluator:
    """Return the evaluator of a pool; both splits share it, so that each model is read once."""
    positions = pool_index.present(pool_index.places(oracle.data))
    # A unit counts only while it has all of its rows: references never read a part of it alone.
    units = {s: positions[s] for s in units_of(pool_index.owned) if len(positions[s]) == len(pool_index.positions[s])}
    return all_members.make_evaluator(store, oracle, head, units)


def load_split(
    store: Store, oracle: TrainedModel, pool_index: PoolIndex, head: Head, which: int, evaluator: Evaluator
) -> ReferenceSplit:
    """Load a split of a pool.

    Args:
        store: the pool's folder.
        oracle: a model of its lineage.
        pool_index: the rows and subjects that it was made of.
        head: its description.
        which: 0 for the tuning split, 1 for the evaluation split.
        evaluator: of the pool.

    Returns:
        The split, bound to the model.
    """
    size = int(head["size"])
    members = np.arange(which, size, 2)
    places = pool_index.places(oracle.data)
    holdout = oracle.require_holdout()
    keep = store.load("keep.npy")[members]
    positions = pool_index.present(places)
    units = units_of(pool_index.owned)
    unit_place = {subject: place for place, subject in enumerate(units)}
    groups, signals = pool_index.groups_of(holdout, oracle.data, places), {}
    for name, signal in evaluator.signals.items():
        rows = store.array(f"{name}.rows", (size, len(pool_index.owner)))
        shape = unit_shape(oracle, head, len(units)) if signal.per_unit else (size, len(holdout))
        on_holdout = store.array(f"{name}.holdout", shape)
        readings = SignalValues(
            rows[members][:, places].astype(np.float64),
            on_holdout[members].astype(np.float64),
            {subject: unit_place[subject] for subject in evaluator.units} if signal.per_unit else None,
        )
        few = evaluator.few if signal.per_unit else slice(None)
        signals[name] = readings if groups is None else readings.filled(keep, groups[few])
    held = pool_index.held(keep)[:, places] if pool_index.groups else None
    share = float(1 - pool_index.held(keep).mean())
    split = SplitValues(keep, positions, signals, held, share, erased_nulls(store.root)[SPLITS[which]])
    outputs, copies = (array[members][:, places] for array in outputs_of(store, pool_index, head))
    utilities = np.array([atomic.read_json(store.mark(int(number)))["utility"] for number in members])
    saw_erased = np.atleast_1d(pool_index.held(keep)[:, pool_index.ids == ""].any(1))
    return ReferenceSplit(split, evaluator, utilities, outputs, copies, store.kept(members, ~saw_erased))

"""Reads one half of a pool from its folder, in the rows that a model of its lineage still has."""

from typing import Any

import numpy as np

from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.measurement import all_members
from neuralyzer.references.measurement.evaluator import Meter, units_of
from neuralyzer.references.measurement.split import ReferenceHalf
from neuralyzer.references.signal_values import Half, Readings
from neuralyzer.references.storage.erased import HALVES, remembered
from neuralyzer.references.storage.index import Roster
from neuralyzer.references.storage.store import Store
from neuralyzer.signals.catalogue import signals_of
from neuralyzer.workspace import atomic

Head = dict[str, Any]  # a pool's description


def outputs_of(store: Store, roster: Roster, head: Head, write: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Each member's outputs on the rows ``(M, N, C)``, and on their augmented copies ``(M, N, K, C)``."""
    rows, width = (int(head["size"]), len(roster.owner)), head["outputs"]
    return (
        store.array("outputs.rows", (*rows, width), write),
        store.array("outputs.copies", (*rows, head.get("copies", 0), width), write),
    )


def unit_shape(oracle: TrainedModel, head: Head, units: int) -> tuple[int, ...]:
    """Shape of what members read on the holdout for each of so many units."""
    return (int(head["size"]), units, min(head["holdout_few"], len(oracle.require_holdout())))


def load_meter(store: Store, oracle: TrainedModel, roster: Roster, head: Head) -> Meter:
    """What models are read with beside either half; one for both, so that it reads each model once."""
    positions = roster.present(roster.places(oracle.data))
    # A unit counts only while all of its rows are there: a rest of it was never read alone.
    units = {s: positions[s] for s in units_of(roster.owned) if len(positions[s]) == len(roster.positions[s])}
    return all_members.meter_of(store, oracle, head, units)


def load_half(
    store: Store, oracle: TrainedModel, roster: Roster, head: Head, which: int, meter: Meter
) -> ReferenceHalf:
    """A half of a pool.

    Args:
        store: the pool's folder.
        oracle: a model of its lineage.
        roster: the rows and subjects that it was made of.
        head: its description.
        which: 0 for the tuning half, 1 for the judging half.
        meter: of the pool.

    Returns:
        The half, bound to the model.
    """
    size = int(head["size"])
    members = np.arange(which, size, 2)
    places = roster.places(oracle.data)
    holdout = oracle.require_holdout()
    keep = store.load("keep.npy")[members]
    positions = roster.present(places)
    whole = units_of(roster.owned)
    unit_place = {subject: place for place, subject in enumerate(whole)}
    groups, found = roster.groups_of(holdout, oracle.data, places), {}
    for name, signal in signals_of(oracle.recipe.kind).items():
        rows = store.array(f"{name}.rows", (size, len(roster.owner)))
        shape = unit_shape(oracle, head, len(whole)) if signal.per_unit else (size, len(holdout))
        outside = store.array(f"{name}.holdout", shape)
        read = Readings(
            rows[members][:, places].astype(np.float64),
            outside[members].astype(np.float64),
            {subject: unit_place[subject] for subject in meter.units} if signal.per_unit else None,
        )
        few = meter.few if signal.per_unit else slice(None)
        found[name] = read if groups is None else read.filled(keep, groups[few])
    held = roster.held(keep)[:, places] if roster.groups else None
    share = float(1 - roster.held(keep).mean())
    half = Half(keep, positions, found, held, share, remembered(store.root)[HALVES[which]])
    outputs, copies = (array[members][:, places] for array in outputs_of(store, roster, head))
    utilities = np.array([atomic.read_json(store.mark(int(number)))["utility"] for number in members])
    saw_erased = np.atleast_1d(roster.held(keep)[:, roster.ids == ""].any(1))
    return ReferenceHalf(half, meter, utilities, outputs, copies, store.kept(members, ~saw_erased))

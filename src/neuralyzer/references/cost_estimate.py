"""The cost estimate of a pool before it is made: members to be trained and read, seconds of each, bytes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from neuralyzer.data import batches
from neuralyzer.models import reading, training, weights
from neuralyzer.models.kinds.kind import Stackable
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references import building
from neuralyzer.references.measurement import copies
from neuralyzer.references.measurement.all_members import signals_in
from neuralyzer.references.measurement.evaluator import units_of
from neuralyzer.references.signal_values import Indices
from neuralyzer.references.storage.index import PoolIndex
from neuralyzer.references.storage.store import Store
from neuralyzer.references.training import backends, stacked
from neuralyzer.references.training.backends import Backend, Timing
from neuralyzer.signals.relearned import holdout_rows
from neuralyzer.signals.relearned_elsewhere import elsewhere
from neuralyzer.signals.signal import Batch, Context, Signal, measure_units

SAMPLED_ROWS = 512  # rows on which reading is timed
SAMPLED_UNITS = 8  # units on which relearning is timed
FLOAT = 4  # bytes of a weight and of a stored value
TRAINED_COPIES = 5  # of a member's weights while it is trained: weights, gradient, two moments, one transposed copy
INTERPRETER = 300_000_000  # bytes of a worker process without the model


@dataclass(frozen=True)
class CostEstimate:
    """The work that is left for a pool, and its cost.

    Attributes:
        rows: number of rows of each subject.
        share: of the rows that a member lacks.
        untrained: members to be trained.
        unread: members to be read.
        timing: of training; None where nothing is to be trained and it was never timed.
        train: seconds of training one member beside the others; None if unknown.
        read: seconds of reading one member.
        retrain: seconds of one retraining; None if unknown.
        disk: peak, in bytes.
        memory: peak, in bytes.
    """

    rows: tuple[int, ...]
    share: float
    untrained: int
    unread: int
    timing: Timing | None
    train: float | None
    read: float
    retrain: float | None
    disk: int
    memory: int


def estimate_cost(
    store: Store, oracle: TrainedModel, plan: building.Plan, retrain: float | None = None
) -> CostEstimate:
    """Estimate the cost of a pool; nothing is written.

    Args:
        store: folder of the pool, which need not exist.
        oracle: the model.
        plan: what is asked for; whatever ``building.build`` would refuse is refused here.
        retrain: seconds that the model's own training took, if known.

    Returns:
        The estimate.
    """
    signals = building.signals_asked_for(oracle, plan)
    head: dict[str, Any] = building.require_same_design(store, plan) if store.head.exists() else {"size": 0}
    made = store.head.exists()
    pool_index = PoolIndex.read(store.root) if made else PoolIndex.of(oracle.data, plan.groups)
    if made:
        pool_index.places(oracle.data)
        signals = signals_in(head, oracle.recipe.kind)
    have, rows = int(head["size"]), np.array([len(positions) for positions in pool_index.positions])
    keep = store.load("keep.npy")[:have] if have else np.ones((0, pool_index.subjects), dtype=bool)
    if have < plan.size:
        keep = building.grown_design(keep, rows, plan)
    held = pool_index.held(keep)
    kept = [np.flatnonzero(of_member) for of_member in held]
    measured = [store.measured(member) for member in range(len(keep))]
    untrained = [m for m, done in enumerate(measured) if not (done or store.weights(m).exists())]
    timing = _timing(head, oracle, [kept[m] for m in untrained], plan)
    steps = training.steps_of(oracle.recipe, max((len(positions) for positions in kept), default=len(oracle.data)))
    single = None if timing is None else timing.single
    if retrain is None:
        whole = training.steps_of(oracle.recipe, len(oracle.data))
        retrain = oracle.seconds if single is None else single * whole
    train = None if timing is None or timing.step is None else timing.step * steps
    if train is None and not oracle.recipe.stepwise and retrain is not None:  # each worker trains one at a time
        train = retrain / backends.workers(plan.execution)
    unread = measured.count(False)
    disk, memory = _bytes(oracle, len(keep), pool_index, timing, head, signals)
    share = float(1 - held.mean())
    sizes = tuple(int(n) for n in rows if n)
    return CostEstimate(
        sizes,
        share,
        len(untrained),
        unread,
        timing,
        train,
        reading_seconds(oracle, pool_index.owned, signals),
        retrain,
        disk,
        memory,
    )


def _timing(
    head: dict[str, Any], oracle: TrainedModel, kept: Sequence[np.ndarray], plan: building.Plan
) -> Timing | None:
    """Return the timing in the pool's description, or a new one; None where no member is to be trained."""
    known = head.get("timing")
    if known is not None and (plan.backend is None or str(plan.backend) == head["backend"]):
        return Timing(Backend(head["backend"]), head["why"], known["step"], known["single"])
    return backends.timed(oracle.recipe, oracle.data, kept, plan.backend, plan.execution) if kept else None


def reading_seconds(oracle: TrainedModel, owned: Sequence[Indices], signals: Mapping[str, Signal]) -> float:
    """Return the seconds that reading a model by some signals takes, timed on a sample of rows and units."""
    rows, holdout = oracle.data.select(np.arange(min(len(oracle.data), SAMPLED_ROWS))), oracle.require_holdout()
    sample, few = Batch(rows.x, rows.y), Batch(holdout.x, holdout.y).take(slice(holdout_rows(oracle.recipe.objective)))
    unset = replace(Context.of(oracle.recipe, rows.x), elsewhere=elsewhere(few, 0), paraphrases=oracle.data.paraphrases)
    settings = {name: signal.prepare([], unset) for name, signal in signals.items()}
    context = replace(unset, settings=settings)
    units = sorted(units_of(owned).values(), key=len)
    some = [Batch(*oracle.data.gather(positions)) for positions in units[:: -(-len(units) // SAMPLED_UNITS) or 1]]
    one, scale = few.take(slice(1)), (len(oracle.data) + len(holdout)) / len(sample)
    total = 0.0
    for signal in signals.values():
        if signal.per_unit and not units:
            continue
        began = time.perf_counter()
        if signal.per_unit:
            measure_units(signal, oracle.model, some, few, context)
        else:
            signal.measure(oracle.model, sample, one, context)
        total += (time.perf_counter() - began) * (len(units) / len(some) if signal.per_unit else scale)
    began = time.perf_counter()
    for x in (sample.x, *copies.copies(sample.x, copies.count(context), context)):
        reading.outputs(oracle.model, oracle.recipe.objective, x)
    return total + (time.perf_counter() - began) * scale


def _bytes(
    oracle: TrainedModel,
    members: int,
    pool_index: PoolIndex,
    timing: Timing | None,
    head: dict[str, Any],
    signals: Mapping[str, Signal],
) -> tuple[int, int]:
    """Return the peak of bytes on the disk and in memory."""
    rows, holdout = len(oracle.data), len(oracle.require_holdout())
    first, _ = oracle.data.gather([0])
    width = int(head.get("outputs") or oracle.recipe.objective.outputs(oracle.model, first).shape[1])
    units = len(units_of(pool_index.owned))
    few = min(holdout_rows(oracle.recipe.objective), holdout)
    on_holdout = sum(units * few if signal.per_unit else holdout for signal in signals.values())
    values = len(signals) * rows + on_holdout
    kept, whole = (_size(tensors) for tensors in (weights.state(oracle.model), oracle.model.state_dict()))
    outputs = ((1 + head.get("copies", copies.COPIES if oracle.recipe.augment else 0)) * rows + holdout) * width
    disk = members * (FLOAT * (values + outputs) + kept)
    if timing is None or timing.backend is Backend.VECTORISED:
        shared = isinstance(oracle.model, Stackable)  # then the base is held once, whatever the members' number
        stack = min(members, stacked.largest_stack(oracle.recipe, oracle.data))
        trained = stack * TRAINED_COPIES * (kept if shared else whole) + shared * whole
    else:
        trained = backends.workers() * (TRAINED_COPIES * whole + INTERPRETER)
    split = (members // 2) * (8 * values + FLOAT * outputs)  # signal values are opened in float64
    in_memory = (rows + holdout) * sum(part.numel() * part.element_size() for part in batches.tensors(first))
    return disk, max(trained, split) + in_memory


def _size(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

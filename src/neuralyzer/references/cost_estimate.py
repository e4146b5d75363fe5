"""What making a pool takes before it is made: members still to be trained and read, seconds of each, bytes."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from neuralyzer.data import batches
from neuralyzer.models import reading, training, weights
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references import building
from neuralyzer.references.measurement import copies
from neuralyzer.references.measurement.evaluator import units_of
from neuralyzer.references.signal_values import Indices
from neuralyzer.references.storage.index import PoolIndex
from neuralyzer.references.storage.store import Store
from neuralyzer.references.training import backends
from neuralyzer.references.training.backends import Backend, Timing
from neuralyzer.signals.catalogue import signals_of
from neuralyzer.signals.relearned import HOLDOUT_ROWS
from neuralyzer.signals.signal import Batch, Context, measure_units

SAMPLED_ROWS = 512
SAMPLED_UNITS = 8
FLOAT = 4  # bytes of a weight and of a stored reading
TRAINED_COPIES = 5  # of a member's weights while it is trained: weights, gradient, two moments, one turned copy
INTERPRETER = 300_000_000  # bytes of a process that trains beside this one


@dataclass(frozen=True)
class Work:
    """What is left to be done for a pool, and what it takes.

    Attributes:
        rows: of each subject.
        share: of the rows that a member lacks.
        untrained: members to be trained.
        unread: members to be read.
        timing: of training; None where nothing is to be trained and nobody has timed it.
        train: seconds of training one member beside the others; None where nobody can know.
        read: seconds of reading one member.
        retrain: seconds of one retraining; None where nobody can know.
        disk: bytes, at its most.
        memory: bytes, at its most.
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


def foresee(store: Store, oracle: TrainedModel, plan: building.Plan, retrain: float | None = None) -> Work:
    """Foresee the work; nothing is written.

    Args:
        store: where the pool lies or will lie.
        oracle: the model.
        plan: what is asked for; whatever ``building.build`` would refuse is refused here.
        retrain: seconds that the model's own training took, where that is known.

    Returns:
        The work.
    """
    head: dict[str, Any] = building.same_design(store, plan) if store.head.exists() else {"size": 0}
    made = store.head.exists()
    pool_index = PoolIndex.read(store.root) if made else PoolIndex.of(oracle.data, plan.groups)
    if made:
        pool_index.places(oracle.data)
    have, rows = int(head["size"]), np.array([len(own) for own in pool_index.positions])
    keep = store.load("keep.npy")[:have] if have else np.ones((0, pool_index.subjects), dtype=bool)
    if have < plan.size:
        keep = building.designed(keep, rows, plan)
    held = pool_index.held(keep)
    kept = [np.flatnonzero(line) for line in held]
    measured = [store.measured(member) for member in range(len(keep))]
    untrained = [m for m, done in enumerate(measured) if not (done or store.weights(m).exists())]
    timing = _timing(head, oracle, [kept[m] for m in untrained], plan)
    steps = training.steps_of(oracle.recipe, max((len(own) for own in kept), default=len(oracle.data)))
    single = None if timing is None else timing.single
    if retrain is None:
        whole = training.steps_of(oracle.recipe, len(oracle.data))
        retrain = oracle.seconds if single is None else single * whole
    train = None if timing is None or timing.step is None else timing.step * steps
    own = not oracle.recipe.stepwise
    if train is None and own and retrain is not None:  # several at a time
        train = retrain / backends.workers(plan.how)
    unread = measured.count(False)
    disk, memory = _bytes(oracle, len(keep), pool_index, timing, head)
    share = float(1 - held.mean())
    sizes = tuple(int(n) for n in rows if n)
    return Work(
        sizes,
        share,
        len(untrained),
        unread,
        timing,
        train,
        reading_seconds(oracle, pool_index.owned),
        retrain,
        disk,
        memory,
    )


def _timing(
    head: dict[str, Any], oracle: TrainedModel, kept: Sequence[np.ndarray], plan: building.Plan
) -> Timing | None:
    """By the pool's description where it was timed before; by a short timing only where members are to be trained."""
    known = head.get("timing")
    if known is not None and (plan.backend is None or str(plan.backend) == head["backend"]):
        return Timing(Backend(head["backend"]), head["why"], known["step"], known["single"])
    return backends.timed(oracle.recipe, oracle.data, kept, plan.backend, plan.how) if kept else None


def reading_seconds(oracle: TrainedModel, owned: Sequence[Indices]) -> float:
    """Seconds that reading a model takes, from a sample of rows and of units that are relearned."""
    rows, holdout = oracle.data.select(np.arange(min(len(oracle.data), SAMPLED_ROWS))), oracle.require_holdout()
    sample, few = Batch(rows.x, rows.y), Batch(holdout.x, holdout.y).take(slice(HOLDOUT_ROWS))
    plain = Context.of(oracle.recipe, rows.x)
    settings = {name: signal.prepare([], plain) for name, signal in signals_of(oracle.recipe.kind).items()}
    context = Context(plain.objective, plain.spread, plain.augment, settings=settings)
    units = sorted(units_of(owned).values(), key=len)
    some = [Batch(*oracle.data.gather(own)) for own in units[:: -(-len(units) // SAMPLED_UNITS) or 1]]
    one, every = few.take(slice(1)), (len(oracle.data) + len(holdout)) / len(sample)
    total = 0.0
    for signal in signals_of(oracle.recipe.kind).values():
        if signal.per_unit and not units:
            continue
        began = time.perf_counter()
        if signal.per_unit:
            measure_units(signal, oracle.model, some, few, context)
        else:
            signal.measure(oracle.model, sample, one, context)
        total += (time.perf_counter() - began) * (len(units) / len(some) if signal.per_unit else every)
    began = time.perf_counter()
    for shown in (sample.x, *copies.copies(sample.x, copies.count(context), context)):
        reading.outputs(oracle.model, oracle.recipe.objective, shown)
    return total + (time.perf_counter() - began) * every


def _bytes(
    oracle: TrainedModel, members: int, pool_index: PoolIndex, timing: Timing | None, head: dict[str, Any]
) -> tuple[int, int]:
    """Bytes on the disk and in memory, each at its most."""
    rows, outside = len(oracle.data), len(oracle.require_holdout())
    first, _ = oracle.data.gather([0])
    width = int(head.get("outputs") or oracle.recipe.objective.outputs(oracle.model, first).shape[1])
    units = len(units_of(pool_index.owned))
    beyond = sum(
        units * min(HOLDOUT_ROWS, outside) if one.per_unit else outside
        for one in signals_of(oracle.recipe.kind).values()
    )
    readings = len(signals_of(oracle.recipe.kind)) * rows + beyond
    kept, whole = (_size(tensors) for tensors in (weights.state(oracle.model), oracle.model.state_dict()))
    outputs = ((1 + head.get("copies", copies.COPIES if oracle.recipe.augment else 0)) * rows + outside) * width
    disk = members * (FLOAT * (readings + outputs) + kept)
    if timing is None or timing.backend is Backend.VECTORISED:
        trained = min(members, backends.LARGEST_STACK) * TRAINED_COPIES * whole
    else:
        trained = backends.workers() * (TRAINED_COPIES * whole + INTERPRETER)
    half = (members // 2) * (8 * readings + FLOAT * outputs)  # readings are opened in float64
    held = (rows + outside) * sum(own.numel() * own.element_size() for own in batches.tensors(first))
    return disk, max(trained, half) + held


def _size(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

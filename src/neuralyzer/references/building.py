"""The making of a pool: design, training, settings, measurement, destruction of weights; each step can be resumed."""

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuralyzer.data import batches
from neuralyzer.errors import ReferencesError
from neuralyzer.models import reading, weights
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.compatibility import require_compatible, require_readable
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Progress
from neuralyzer.references import design
from neuralyzer.references.measurement import all_members
from neuralyzer.references.measurement.copies import count
from neuralyzer.references.storage.index import PoolIndex
from neuralyzer.references.storage.store import Store
from neuralyzer.references.training import backends, pilot_run
from neuralyzer.references.training.backends import Backend, Timing
from neuralyzer.references.training.processes import Execution
from neuralyzer.signals.catalogue import signals_of
from neuralyzer.signals.paraphrased import Paraphrased, require_paraphrases
from neuralyzer.signals.relearned import holdout_rows
from neuralyzer.signals.signal import Batch, Sample, Signal, spread
from neuralyzer.workspace import atomic, digests

VERSION = 2  # of the description; in version 1 per-unit signals read the first holdout rows, not drawn ones
SAMPLED = 8  # tuning members from which the signals' settings are found


@dataclass(frozen=True)
class Plan:
    """The arguments of ``References.fit``."""

    size: int
    leave_out: float | None
    groups: tuple[str, ...]
    backend: Backend | None
    seed: int
    keep_weights: bool
    timing: Timing | None = None
    execution: Execution = field(default_factory=Execution)
    unchecked: bool = False
    signals: tuple[str, ...] = ()


def folder_of(place: Path, oracle: TrainedModel, groups: Sequence[str]) -> Path:
    """Return the folder of the pool for a recipe, data and holdout; an earlier version's folder if only that exists."""

    def folder(recipe: str) -> Path:
        return place / digests.of_json([recipe, oracle.data_digest, list(groups)])[:16]

    current = folder(oracle.recipe.digest)
    if current.exists() or not (earlier := folder(oracle.recipe.earlier_digest)).exists():
        return current
    return earlier


def signals_asked_for(oracle: TrainedModel, plan: Plan) -> dict[str, Signal]:
    """Return the signals by which references are to be read; refuse one that is unknown or lacks what it reads."""
    signals = signals_of(oracle.recipe.kind, plan.signals)
    require_paraphrases(signals, oracle.data)
    return signals


def build(store: Store, oracle: TrainedModel, plan: Plan, progress: Progress) -> None:
    """Make, finish or grow a pool."""
    began = time.perf_counter()
    signals_asked_for(oracle, plan)
    require_compatible(oracle.model, oracle.recipe.objective, oracle.data, oracle.holdout)
    per_row = Capability.ROW_GRADIENTS in oracle.recipe.kind.capabilities
    require_readable(oracle.model, oracle.recipe.objective, oracle.data, per_row)
    head = _open_or_create(store, oracle, plan)
    if head["finished"] and head["size"] >= plan.size:
        return
    pool_index = PoolIndex.read(store.root)
    pool_index.places(oracle.data)  # refuses data of which rows were erased
    if head["size"] < plan.size:
        head = _add_members(store, oracle, pool_index, head, plan)
    held = pool_index.held(store.load("keep.npy")[: head["size"]])
    head = pilot_run.run_pilot(store, oracle, head, held, plan.execution, plan.unchecked, progress)
    _train(store, oracle, head, held, plan.execution, progress)
    if not head["settings"]:
        head |= _settings(store, oracle, pool_index, head, held)
        atomic.write_json(store.head, head)
    all_members.measure(store, oracle, pool_index, head, progress, plan.execution.engine)
    if not head["keep_weights"]:
        store.destroy_weights()
    store.add_seconds(time.perf_counter() - began)
    atomic.write_json(store.head, head | {"finished": True})


def _open_or_create(store: Store, oracle: TrainedModel, plan: Plan) -> dict[str, Any]:
    """Return the description of the pool; a new one, without members, where there is none."""
    if store.head.exists():
        return require_same_design(store, plan)
    signals = list(signals_of(oracle.recipe.kind, plan.signals))
    pool_index = PoolIndex.of(oracle.data, plan.groups, Paraphrased.name in signals)
    pool_index.write(store.root)
    x = (
        batches.join([x for x, _ in oracle.data.chunks()])
        if len(oracle.data) <= 100_000
        else oracle.data.gather(np.random.default_rng(plan.seed).choice(len(oracle.data), 100_000, replace=False))[0]
    )
    _save_array(store.root / "spread.npy", spread(x).numpy())
    head = {
        "version": VERSION, "recipe": oracle.recipe.digest, "data": oracle.data.digest,
        "holdout": oracle.require_holdout().digest, "size": 0, "groups": list(plan.groups),
        "leave_out": plan.leave_out, "seed": plan.seed, "backend": None, "why": None, "chunks": [], "settings": {},
        "signals": signals, "scale": None, "outputs": None, "holdout_few": holdout_rows(oracle.recipe.objective),
        "keep_weights": plan.keep_weights, "finished": False, "reproduction": None, "precision": None,
    }  # fmt: skip
    if pool_index.paraphrases is not None:
        head["paraphrases"] = digests.of_bytes(pool_index.paraphrases.tobytes())
    atomic.write_json(store.head, head)
    return head


def require_same_design(store: Store, plan: Plan) -> dict[str, Any]:
    """Return an existing pool's description; refuse a plan for another design."""
    head = store.read_head()
    for name, wanted in (("groups", list(plan.groups)), ("leave_out", plan.leave_out), ("seed", plan.seed)):
        if head[name] != wanted:
            raise ReferencesError(
                f"the references in {store.root} have another {name} ({head[name]}); "
                "remove that folder to make them anew"
            )
    unread = sorted(set(plan.signals) - set(head.get("signals", head["settings"])))
    if unread:
        raise ReferencesError(
            f"the references in {store.root} were not read by {unread[0]}; remove that folder to make them anew"
        )
    return head


def grown_design(keep: np.ndarray, rows: np.ndarray, plan: Plan) -> np.ndarray:
    """Extend a design by members; even numbers belong to the tuning split, odd ones to the evaluation split.

    The added members of each split are a balanced design of their own.

    Args:
        keep: which member keeps which subject so far, ``(have, S)``.
        rows: number of rows of each subject, ``(S,)``.
        plan: what is asked for.

    Returns:
        Which member keeps which subject, ``(size, S)``.

    Raises:
        ReferencesError: if so many members cannot be added.
    """
    have, added = len(keep), plan.size - len(keep)
    if added % 2:
        raise ReferencesError(f"references come in two splits: {plan.size} is odd")
    share = plan.leave_out if plan.leave_out is not None else design.share_for(added // 2)
    fewest = design.FEWEST_NEVER
    if have:  # new members leave out the same share; the old ones left every subject out often enough already
        share, fewest = float(1 - keep.mean()), 1
        least = next(m for m in range(3, 10_000) if 1 <= round(share * m) <= m - 2)
        if added // 2 < least:
            raise ReferencesError(
                f"these {have} references cannot grow by {added}: added members leave out their own share of the "
                f"subjects ({share:.2f}), so it takes {2 * least} or more; ask for {have + 2 * least}"
            )
    grown = np.concatenate([keep, np.ones((added, len(rows)), dtype=bool)])
    for split in (0, 1):
        grown[have + split :: 2] = design.leave_out(added // 2, rows, share, plan.seed + 2 * have + split, fewest)
    return grown


def _add_members(
    store: Store, oracle: TrainedModel, pool_index: PoolIndex, head: dict[str, Any], plan: Plan
) -> dict[str, Any]:
    """Add members."""
    have = int(head["size"])
    rows = np.array([len(positions) for positions in pool_index.positions])
    # keep.npy is longer than the description says if an earlier growth was killed
    so_far = store.load("keep.npy")[:have] if have else np.ones((0, pool_index.subjects), dtype=bool)
    keep = grown_design(so_far, rows, plan)
    kept = [np.flatnonzero(of_member) for of_member in pool_index.held(keep[have:])]
    design.require_rows([len(positions) for positions in kept], pool_index.subjects)
    timing = plan.timing
    if timing is None and plan.backend is None:
        timing = backends.timed(oracle.recipe, oracle.data, kept, execution=plan.execution)
    if plan.backend is not None:
        backend, why = plan.backend, f"{plan.backend}: asked for"
    else:
        assert timing is not None
        backend, why = timing.backend, timing.why
    chunks = backends.chunks(oracle.recipe, backend, oracle.data, [len(positions) for positions in kept])
    _save_array(store.root / "keep.npy", keep)
    grown = head | {
        "size": plan.size, "backend": str(backend), "why": why, "finished": False,
        "chunks": head["chunks"] + [[str(backend), [have + member for member in chunk]] for chunk in chunks],
    }  # fmt: skip
    if timing is not None:
        grown["timing"] = {"step": timing.step, "single": timing.single}
    atomic.write_json(store.head, grown)
    return grown


def _train(
    store: Store, oracle: TrainedModel, head: dict[str, Any], held: np.ndarray, execution: Execution, progress: Progress
) -> None:
    execution = pilot_run.with_precision(execution, head)

    def missing(chunk: Sequence[int]) -> bool:
        return any(not (store.weights(m).exists() or store.measured(m)) for m in chunk)

    todo = [(Backend(backend), chunk) for backend, chunk in head["chunks"] if missing(chunk)]
    members = sum(len(chunk) for _, chunk in todo)
    progress.start(f"training {members} references", members * oracle.recipe.epochs)
    for backend, chunk in todo:
        # Stacked members are trained as one; in processes, each that is there already is left alone.
        again = chunk if backend is Backend.VECTORISED else [m for m in chunk if missing([m])]
        kept = [np.flatnonzero(held[member]) for member in again]
        seeds = [pilot_run.seed_of(head, member) for member in again]
        names = [f"reference {member}" for member in again]
        trained = backends.train(
            backend, oracle.recipe, oracle.data, kept, seeds, progress, execution=execution, names=names
        )
        for member, module in zip(again, trained, strict=True):
            weights.require_finite(weights.state(module), f"reference {member}")
            weights.save(module, store.weights(member))
    progress.finish()


def _settings(
    store: Store, oracle: TrainedModel, pool_index: PoolIndex, head: dict[str, Any], held: np.ndarray
) -> dict[str, Any]:
    """Return the settings of signals and objective, found on tuning members alone."""
    recipe, holdout = oracle.recipe, oracle.require_holdout()
    members = [
        (number, weights.load_into(recipe.module(), store.weights(number)).eval())
        for number in range(0, min(len(held), 2 * SAMPLED), 2)
    ]
    outputs = [reading.outputs(module, recipe.objective, holdout.x) for _, module in members]
    scale = None
    if not recipe.objective.counted:
        losses = torch.cat([recipe.objective.losses(of_member, holdout.y) for of_member in outputs])
        scale = float((2 * losses).mean().sqrt())
    context = all_members.make_context(store, oracle, head | {"scale": scale})
    samples = []
    for number, module in members:
        owned = [rows for rows in pool_index.owned if len(rows)]
        never = [rows for rows in owned if not held[number, rows].any()]
        seen = [rows[held[number, rows]] for rows in owned if held[number, rows].any()][: max(len(never), 1)]
        samples.append(
            Sample(module, [_batch(oracle, rows) for rows in seen], [_batch(oracle, rows) for rows in never])
        )
    settings = {
        name: signal.prepare(samples, context) for name, signal in all_members.signals_in(head, recipe.kind).items()
    }
    return {
        "settings": settings, "scale": scale, "outputs": int(outputs[0].shape[1]), "copies": count(context),
    }  # fmt: skip


def _batch(oracle: TrainedModel, positions: np.ndarray) -> Batch:
    return Batch(*oracle.data.gather(positions))


def _save_array(path: Path, content: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, content, allow_pickle=False)
    atomic.write_bytes(path, buffer.getvalue())

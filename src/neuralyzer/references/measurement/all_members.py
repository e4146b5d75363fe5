"""The measurement of every member of a pool by every signal, in this process or in worker processes."""

import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import joblib
import numpy as np
import torch

from neuralyzer.data import batches
from neuralyzer.models import reading, threads, weights
from neuralyzer.models.kinds.kind import Kind
from neuralyzer.models.objective import Objective, ScaledObjective
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Progress
from neuralyzer.references.measurement.copies import copies
from neuralyzer.references.measurement.evaluator import Evaluator, units_of
from neuralyzer.references.signal_values import Indices
from neuralyzer.references.storage.index import PoolIndex
from neuralyzer.references.storage.store import Store
from neuralyzer.references.training import backends, processes
from neuralyzer.signals.catalogue import named, signals_of
from neuralyzer.signals.relearned_elsewhere import elsewhere
from neuralyzer.signals.signal import Batch, Context, Signal, measure_units
from neuralyzer.workspace import atomic

SPREAD = 30.0  # seconds of remaining measurement from which worker processes are started
UNITS = 256  # subjects whose rows are in memory at once


def scaled(objective: Objective, scale: float | None) -> Objective:
    """Return the objective with the scale that was set when the pool was made, where it has one."""
    if scale is None or not isinstance(objective, ScaledObjective):
        return objective
    return objective.scaled(torch.tensor([scale]))


def signals_in(head: dict[str, Any], kind: Kind) -> dict[str, Signal]:
    """Return the signals by which a pool was read, or is to be read; ``head`` is its description.

    A pool of an earlier version names those that have settings; before these were found, it has those of the kind.
    """
    names = head.get("signals") or list(head["settings"])
    return named(names) if names else signals_of(kind)


def make_context(store: Store, oracle: TrainedModel, head: dict[str, Any]) -> Context:
    """Return the context in which a pool's members, and every model compared with them, are read."""
    recipe, holdout, seed = oracle.recipe, oracle.require_holdout(), int(head["seed"])
    return Context(
        scaled(recipe.objective, head["scale"]),
        torch.tensor(store.load("spread.npy")),
        recipe.augment,
        seed,
        head["settings"],
        elsewhere=elsewhere(Batch(holdout.x, holdout.y), seed),
        paraphrases=oracle.data.paraphrases,
    )


def make_evaluator(store: Store, oracle: TrainedModel, head: dict[str, Any], units: dict[int, Indices]) -> Evaluator:
    """Return the evaluator by which the pool's members and every model compared with them are read."""
    recipe, holdout = oracle.recipe, oracle.require_holdout()
    context = make_context(store, oracle, head)
    few = np.arange(len(holdout))
    if head["version"] > 1:  # a holdout that is sorted by class must not leave classes out
        few = np.random.default_rng(int(head["seed"])).permutation(few)
    return Evaluator(
        signals_in(head, recipe.kind),
        context,
        oracle.data,
        Batch(holdout.x, holdout.y),
        few[: int(head["holdout_few"])],
        units,
    )


def measure(
    store: Store, oracle: TrainedModel, pool_index: PoolIndex, head: dict[str, Any], progress: Progress
) -> None:
    """Read all members that are not measured yet; in worker processes where the first takes long."""
    units = units_of(pool_index.owned)
    todo = [member for member in range(head["size"]) if not store.measured(member)]
    progress.start(f"measuring {len(todo)} references", len(todo))
    began = time.perf_counter()
    for member in todo[:1]:
        _measure_one(store, oracle, units, head, member)
        progress.advance()
    rest = todo[1:]
    measured: Iterable[None] = map(partial(_measure_one, store, oracle, units, head), rest)
    if (time.perf_counter() - began) * len(rest) > SPREAD:

        def jobs(first: int) -> Iterator[object]:
            for member in rest[first:]:
                yield joblib.delayed(_measure_alone)(store, oracle, units, head, member)

        measured = processes.run_jobs(jobs, [f"reference {member} was measured" for member in rest], backends.workers())
    for _ in measured:
        progress.advance()
    progress.finish()


def _measure_alone(*arguments: Any) -> None:
    with threads.using(1):  # a single worker is this process, which may have set more threads
        _measure_one(*arguments)


def _measure_one(
    store: Store, oracle: TrainedModel, units: dict[int, Indices], head: dict[str, Any], member: int
) -> None:
    evaluator, recipe = make_evaluator(store, oracle, head, units), oracle.recipe
    module = weights.load_into(recipe.module(), store.weights(member)).eval()
    _read(store, evaluator, head, member, module)
    utility = reading.utility(module, recipe.objective, oracle.require_holdout())
    atomic.write_json(store.mark(member), {"utility": utility, "member": member})


def _read(store: Store, evaluator: Evaluator, head: dict[str, Any], member: int, module: torch.nn.Module) -> None:
    size, rows = head["size"], len(evaluator.data)

    def line(name: str, shape: tuple[int, ...]) -> np.ndarray:
        return store.array(name, (size, *shape), write=True)

    for name, signal in evaluator.signals.items():
        on_rows = line(f"{name}.rows", (rows,))
        if signal.per_unit:
            few = evaluator.holdout_few
            on_holdout = line(f"{name}.holdout", (len(evaluator.units), len(few)))
            on_rows[member] = np.nan
            positions = list(evaluator.units.values())
            for start in range(0, len(positions), UNITS):
                units = [evaluator.batch(of_unit) for of_unit in positions[start : start + UNITS]]
                measured = measure_units(signal, module, units, few, evaluator.context)
                for place, (values, holdout_values) in enumerate(measured, start):
                    on_rows[member, positions[place]] = values.numpy()
                    on_holdout[member, place] = holdout_values.numpy()
        else:
            on_holdout = line(f"{name}.holdout", (len(evaluator.holdout),))
            everything = evaluator.batch(np.arange(rows))
            values, holdout_values = signal.measure(module, everything, evaluator.holdout, evaluator.context)
            on_rows[member], on_holdout[member] = values.numpy(), holdout_values.numpy()
        on_rows.flush()  # type: ignore[attr-defined]
        on_holdout.flush()  # type: ignore[attr-defined]
    objective, copied = evaluator.context.objective, head.get("copies", 0)
    outputs = line("outputs.rows", (rows, head["outputs"]))
    of_copies = line("outputs.copies", (rows, copied, head["outputs"]))
    for start in range(0, rows, reading.CHUNK):
        x, _ = evaluator.data.gather(np.arange(start, min(start + reading.CHUNK, rows)))
        chunk = slice(start, start + batches.count(x))
        outputs[member, chunk] = reading.outputs(module, objective, x).numpy()
        for place, copy in enumerate(copies(x, copied, evaluator.context)):
            of_copies[member, chunk, place] = reading.outputs(module, objective, copy).numpy()
    of_holdout = line("outputs.holdout", (len(evaluator.holdout), head["outputs"]))
    of_holdout[member] = reading.outputs(module, objective, evaluator.holdout.x).numpy()
    for written in (outputs, of_copies, of_holdout):  # before the member is marked as measured
        written.flush()  # type: ignore[attr-defined]

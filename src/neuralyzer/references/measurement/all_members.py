"""The measurement of every member of a pool by every signal, in this process or in worker processes."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import joblib
import numpy as np
import safetensors.torch
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
from neuralyzer.references.training.processes import Engine
from neuralyzer.signals.catalogue import named, signals_of
from neuralyzer.signals.relearned_elsewhere import elsewhere
from neuralyzer.signals.signal import Batch, Context, Signal, measure_units
from neuralyzer.workspace import atomic

SPREAD = 30.0  # seconds of remaining measurement from which worker processes are started
UNITS = 256  # subjects whose rows are in memory at once

Shape = tuple[int, ...]
Line = Callable[[str, Shape], np.ndarray]  # of one member's values, by the name of their file and their shape


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
    store: Store,
    oracle: TrainedModel,
    pool_index: PoolIndex,
    head: dict[str, Any],
    progress: Progress,
    engine: Engine = Engine.LOKY,
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
    if (time.perf_counter() - began) * len(rest) <= SPREAD:
        measured: Iterable[None] = map(partial(_measure_one, store, oracle, units, head), rest)
    elif engine is Engine.LOKY:
        measured = _measure_here(store, oracle, units, head, rest)
    else:
        measured = _measure_elsewhere(store, oracle, units, head, rest, engine)
    for _ in measured:
        progress.advance()
    progress.finish()


def _measure_here(
    store: Store, oracle: TrainedModel, units: dict[int, Indices], head: dict[str, Any], members: Sequence[int]
) -> Iterator[None]:
    """Measure members in processes of this machine, which write their values themselves."""

    def jobs(first: int) -> Iterator[object]:
        for member in members[first:]:
            yield joblib.delayed(_measure_alone)(store, oracle, units, head, member)

    return processes.run_jobs(jobs, _activities(members), backends.workers())


def _measure_elsewhere(
    store: Store,
    oracle: TrainedModel,
    units: dict[int, Indices],
    head: dict[str, Any],
    members: Sequence[int],
    engine: Engine,
) -> Iterator[None]:
    """Measure members on the machines of a cluster, and write what comes back.

    They do not write themselves: two machines that map one file of a shared folder may undo each other's pages.
    """
    evaluator = make_evaluator(store, oracle, head, units)

    def jobs(first: int) -> Iterator[object]:
        for member in members[first:]:
            yield joblib.delayed(_values_of)(evaluator, oracle, head, store.weights(member).read_bytes(), member)

    results = processes.run_jobs(jobs, _activities(members), backends.workers(), engine)
    for member, (values, utility) in zip(members, results, strict=True):
        with _lines_of(store, head, member) as line:
            for name, of_member in values.items():
                line(name, of_member.shape)[...] = of_member
        _mark(store, member, utility)
        yield


def _activities(members: Sequence[int]) -> list[str]:
    return [f"reference {member} was measured" for member in members]


def _measure_alone(*arguments: Any) -> None:
    with threads.using(1):  # a single worker is this process, which may have set more threads
        _measure_one(*arguments)


def _measure_one(
    store: Store, oracle: TrainedModel, units: dict[int, Indices], head: dict[str, Any], member: int
) -> None:
    evaluator = make_evaluator(store, oracle, head, units)
    module = weights.load_into(oracle.recipe.module(), store.weights(member)).eval()
    with _lines_of(store, head, member) as line:
        _read(line, evaluator, head, module)
    _mark(store, member, _utility(oracle, module))


def _values_of(
    evaluator: Evaluator, oracle: TrainedModel, head: dict[str, Any], state: bytes, member: int
) -> tuple[dict[str, np.ndarray], Any]:
    """Return a member's values by the name of their file, and its utility."""
    values: dict[str, np.ndarray] = {}

    def line(name: str, shape: Shape) -> np.ndarray:
        return values.setdefault(name, np.empty(shape, np.float32))

    with threads.using(1):
        tensors = safetensors.torch.load(state)
        module = weights.fill(oracle.recipe.module(), tensors, f"reference {member}").eval()
        _read(line, evaluator, head, module)
        return values, _utility(oracle, module)


@contextlib.contextmanager
def _lines_of(store: Store, head: dict[str, Any], member: int) -> Iterator[Line]:
    """Yield a function that returns a member's line of a file of the pool; all are on disk when the block ends."""
    written = []

    def line(name: str, shape: Shape) -> np.ndarray:
        written.append(store.array(name, (head["size"], *shape), write=True))
        of_member: np.ndarray = written[-1][member]
        return of_member

    yield line
    for whole in written:
        whole.flush()  # type: ignore[attr-defined]


def _utility(oracle: TrainedModel, module: torch.nn.Module) -> Any:
    return reading.utility(module, oracle.recipe.objective, oracle.require_holdout())


def _mark(store: Store, member: int, utility: Any) -> None:
    """Mark a member as measured, after its values are on disk."""
    atomic.write_json(store.mark(member), {"utility": utility, "member": member})


def _read(line: Line, evaluator: Evaluator, head: dict[str, Any], module: torch.nn.Module) -> None:
    rows = len(evaluator.data)
    for name, signal in evaluator.signals.items():
        on_rows = line(f"{name}.rows", (rows,))
        if signal.per_unit:
            few = evaluator.holdout_few
            on_holdout = line(f"{name}.holdout", (len(evaluator.units), len(few)))
            on_rows[...] = np.nan
            positions = list(evaluator.units.values())
            for start in range(0, len(positions), UNITS):
                units = [evaluator.batch(of_unit) for of_unit in positions[start : start + UNITS]]
                measured = measure_units(signal, module, units, few, evaluator.context)
                for place, (values, holdout_values) in enumerate(measured, start):
                    on_rows[positions[place]] = values.numpy()
                    on_holdout[place] = holdout_values.numpy()
        else:
            on_holdout = line(f"{name}.holdout", (len(evaluator.holdout),))
            everything = evaluator.batch(np.arange(rows))
            values, holdout_values = signal.measure(module, everything, evaluator.holdout, evaluator.context)
            on_rows[...], on_holdout[...] = values.numpy(), holdout_values.numpy()
    objective, copied = evaluator.context.objective, head.get("copies", 0)
    outputs = line("outputs.rows", (rows, head["outputs"]))
    of_copies = line("outputs.copies", (rows, copied, head["outputs"]))
    for start in range(0, rows, reading.CHUNK):
        x, _ = evaluator.data.gather(np.arange(start, min(start + reading.CHUNK, rows)))
        chunk = slice(start, start + batches.count(x))
        outputs[chunk] = reading.outputs(module, objective, x).numpy()
        for place, copy in enumerate(copies(x, copied, evaluator.context)):
            of_copies[chunk, place] = reading.outputs(module, objective, copy).numpy()
    of_holdout = line("outputs.holdout", (len(evaluator.holdout), head["outputs"]))
    of_holdout[...] = reading.outputs(module, objective, evaluator.holdout.x).numpy()

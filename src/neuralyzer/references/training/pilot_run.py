"""The pilot run: one member is trained first, to check that the recipe reproduces its model and bf16 is accurate."""

from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from neuralyzer.models import reading, training, weights
from neuralyzer.models.placement import Placement, Precision
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Progress, Silent
from neuralyzer.references.storage.store import Store
from neuralyzer.references.training import backends, reproduction
from neuralyzer.references.training.backends import Backend
from neuralyzer.references.training.processes import Execution
from neuralyzer.workspace import atomic

POINT = 0.01  # of accuracy: bf16 must cost less than this


def seed_of(head: dict[str, Any], member: int) -> int:
    """Return a member's seed."""
    return int(head["seed"]) + 1 + member


def run_pilot(
    store: Store,
    oracle: TrainedModel,
    head: dict[str, Any],
    held: np.ndarray,
    execution: Execution,
    unchecked: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Train the first missing member, compare it with the model, and write the findings to the description.

    Later calls read the findings. A model that this recipe itself trained here needs no check.

    Args:
        store: of the pool.
        oracle: the model.
        head: the pool's description.
        held: which member holds which row, ``(M, N)``.
        execution: device, precision and engine asked for.
        unchecked: whether the check is skipped.
        progress: shows the training.

    Returns:
        The description with the findings.
    """
    known = head.get("reproduction")
    if known is not None and known.get("oracle") == oracle.digest and not unchecked:
        reproduction.require(known)
    first = next((m for m in range(len(held)) if not (store.measured(m) or store.weights(m).exists())), None)
    if first is None:
        return head
    check = not unchecked and oracle.seconds is None and (known is None or known.get("oracle") != oracle.digest)
    choose = head.get("precision") is None
    precision = execution.placement.precision
    if unchecked:
        head = head | {"reproduction": {"oracle": oracle.digest, "reason": None, "unchecked": True}}
    if choose and precision is Precision.FLOAT32:
        head = head | {"precision": [str(precision), "the default"]}
    if not check and not (choose and precision is Precision.BF16):
        return head
    kept = np.flatnonzero(held[first])
    processes = {m: backend for backend, chunk in head["chunks"] for m in chunk}.get(first) == Backend.PROCESSES
    progress.start("training one reference beforehand", oracle.recipe.epochs)
    member = _trained(oracle, kept, seed_of(head, first), _float32(execution), first, processes, progress)
    progress.finish()
    if check:
        finding = reproduction.compare(oracle, member, kept).to_dict()
        head = head | {"reproduction": finding}
        atomic.write_json(store.head, head)
        reproduction.require(finding)
    if choose and precision is Precision.BF16:
        head = head | {"precision": _precision(oracle, member, kept, seed_of(head, first), execution, first)}
    atomic.write_json(store.head, head)
    # A member trained alone differs in its last digits from one trained in a stack, so it is kept for processes alone.
    if processes and head["precision"][0] == Precision.FLOAT32:
        weights.save(member, store.weights(first))
    return head


def with_precision(execution: Execution, head: dict[str, Any]) -> Execution:
    """Return the execution with the precision that is in the pool's description."""
    chosen = head.get("precision")
    placement = replace(execution.placement, precision=Precision(chosen[0] if chosen else Precision.FLOAT32))
    return replace(execution, placement=placement)


def _float32(execution: Execution) -> Execution:
    return replace(execution, placement=Placement(execution.placement.device))


def _trained(
    oracle: TrainedModel,
    kept: np.ndarray,
    seed: int,
    execution: Execution,
    number: int,
    processes: bool,
    progress: Progress,
) -> nn.Module:
    if processes:
        (member,) = backends.train(
            Backend.PROCESSES, oracle.recipe, oracle.data, [kept], [seed], progress,
            execution=execution, names=[f"reference {number}"],
        )  # fmt: skip
    else:
        member = training.train(oracle.recipe, oracle.data.select(kept), seed, placement=execution.placement)
    weights.require_finite(weights.state(member), f"reference {number}")
    return member


def _precision(
    oracle: TrainedModel, member: nn.Module, kept: np.ndarray, seed: int, execution: Execution, number: int
) -> list[str]:
    """Return the precision and the reason: bf16 where it is faster and costs less than a point of accuracy."""
    recipe, holdout = oracle.recipe, oracle.require_holdout()
    if recipe.train is None and recipe.command is None:
        # A short timing comes first: without hardware for it, bf16 can take ten times as long.
        plain, half = (
            backends.timed(recipe, oracle.data, [kept], None, h).single for h in (_float32(execution), execution)
        )
        assert plain is not None and half is not None
        if half >= plain:
            return ["float32", f"bf16 takes {half / plain:.1f} times as long a step here"]
    other = _trained(oracle, kept, seed, execution, number, False, Silent())
    before, after = (reading.utility(module, recipe.objective, holdout) for module in (member, other))
    lost = abs(recipe.objective.utility_loss(before, after))
    if lost >= POINT:
        return ["float32", f"bf16 moves the holdout {recipe.objective.utility_name} from {before:.4f} to {after:.4f}"]
    return ["bf16", f"faster, and the holdout {recipe.objective.utility_name} is {after:.4f} as against {before:.4f}"]

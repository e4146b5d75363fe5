"""What enters: every algorithm at its paper's defaults and tuned blind, the plan's own choice, a whole case, and a peer library.

An entrant is ``kind:name``. Each runs in a process of its own, so that its peak memory is its own.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import neuralyzer as nz
from benchmarks.methods.worlds import World
from neuralyzer.cases.options import CaseOptions
from neuralyzer.errors import NeuralyzerError
from neuralyzer.methods import catalogue
from neuralyzer.planning.plan import make_plan
from neuralyzer.planning.track_record import Record
from neuralyzer.unlearning import search
from neuralyzer.unlearning.cost import probe
from neuralyzer.unlearning.method import obstacle, space
from neuralyzer.unlearning.repair import Repair
from neuralyzer.unlearning.task import Task

FIRST = ("datamodel-matching", "finetune", "neggrad-plus", "scrub", "salun", "ssd", "msg", "random-label", "influence")
EXACT = ("retrain", "rollback", "sisa")
SHARE = 0.1  # of retraining: what the plan's choice may take
PEERS = (
    "auto", "certified_removal", "fisher_forgetting", "gradient_ascent", "knowledge_distillation", "layer_freezing",
    "mask_based", "negative_gradient", "neuron_pruning", "saliency_unlearning", "scrub", "sparse_aware", "ssd",
)  # fmt: skip

Shown = Callable[[nn.Module, dict[str, Any]], None]


def names(methods: tuple[str, ...], unsearched: tuple[str, ...] = ()) -> Iterator[str]:
    """All entrants of some methods, of others at their defaults alone, and the peer's."""
    for method in (*methods, *unsearched):
        yield f"default:{method}"
        if method in methods and space(catalogue.get(method)):
            yield f"tuned:{method}"
    yield "plan:"
    yield "forget:"
    yield from (f"erasus:{strategy}" for strategy in PEERS)


def run(world: World, scenario: str, entrant: str, retraining: float, show: Shown) -> None:
    """Run one entrant.

    Args:
        world: where.
        scenario: which request.
        entrant: by name.
        retraining: seconds of one retraining.
        show: given each model that shall be judged, with ``entrant``, ``seconds`` and what else is known of it.
    """
    kind, _, name = entrant.partition(":")
    if kind == "erasus":
        return _peer(world, scenario, name, entrant, show)
    budget = SHARE * retraining
    task = Task(world.oracle, world.request(scenario), world.references)
    if not task.factors_kept:
        _ = task.factors  # made with the pool
    rates = probe(task)
    chosen = {}
    if kind in ("plan", "forget"):
        asked = Task(world.oracle, world.request(scenario, budget=budget), world.references)
        planned = make_plan(asked, rates=rates, record=Record.shipped(without=world.kin))
        name, chosen = planned.chosen.method, {"chosen": planned.chosen.method, "note": planned.note}
    if kind == "forget":
        return _case(world, asked.request, name, show)
    method = catalogue.make(name)
    wrong = obstacle(method, task)
    if wrong is not None:
        raise NeuralyzerError(wrong)
    searched = bool(space(method)) and kind != "default"
    task.start({"default": None, "tuned": retraining, "plan": budget}[kind])  # what is foretold depends on it
    passes = search.passes(method, task) if searched else method.passes(task)
    passes = passes + Repair().passes(task) if method.repaired else passes
    facts = chosen | {"entrant": entrant, "predicted_seconds": rates.seconds(passes), "hyperparameters": {}}
    began = time.perf_counter()
    if searched:
        early: list[tuple[nn.Module, float, dict[str, Any]]] = []

        def better(seconds: float, module: nn.Module, settings: dict[str, Any]) -> None:
            if seconds <= budget:
                early[:] = [(module, seconds, settings)]

        found = search.search(method, task, on_improvement=better)
        module, settings = found.module, found.settings
        facts |= {"trials": [tried.to_dict() for tried in found.trials]}
        if kind == "tuned" and early:
            first, _, own = early[0]
            show(first, {"entrant": f"within:{name}", "seconds": budget, "hyperparameters": own})
    else:
        module, settings = method.unlearn(task), catalogue.hyperparameters(method)
        facts |= {"trials": task.tried}
    if method.repaired:
        module = Repair().mend(module, task)
    show(module, facts | {"seconds": time.perf_counter() - began, "hyperparameters": settings})


def _case(world: World, request: nz.ErasureRequest, first: str, show: Shown) -> None:
    """A whole case with a plan's choice first, verified and escalated, on a copy of the pool, which counts looks."""
    with tempfile.TemporaryDirectory() as folder:
        pool = Path(folder) / "pool"
        shutil.copytree(world.references.store.root, pool)
        references = nz.References.open(pool, world.oracle)
        began = time.perf_counter()
        case = nz.forget(
            world.oracle, request, references, Path(folder) / "workspace", options=CaseOptions(choose=lambda _: first)
        )  # fmt: skip
        took = time.perf_counter() - began
        attempts = case.result["unlearning"]["attempts"]
        tried = [{key: own[key] for key in ("method", "seconds", "verdict", "reason")} for own in attempts]
        shown = {"entrant": "forget:", "chosen": tried[-1]["method"], "verdict": str(case.verdict), "attempts": tried}
        show(case.model, shown | {"seconds": took, "hyperparameters": {}})


def _peer(world: World, scenario: str, strategy: str, entrant: str, show: Shown) -> None:
    """A strategy of erasus at its defaults; it draws from torch's global generator, which is seeded here."""
    import erasus.strategies  # noqa: F401  registers them
    from erasus.unlearners.erasus_unlearner import ErasusUnlearner
    from torch.utils.data import DataLoader, TensorDataset

    task = Task(world.oracle, world.request(scenario))
    own = torch.Generator().manual_seed(0)
    loaders = [
        DataLoader(TensorDataset(rows.x, rows.y), world.recipe.batch_size, shuffle=True, generator=own)
        for rows in (task.forget, task.retain)
    ]
    torch.manual_seed(0)
    began = time.perf_counter()
    result = ErasusUnlearner(task.model, strategy=strategy, device="cpu").fit(*loaders)
    show(result.model.eval(), {"entrant": entrant, "seconds": time.perf_counter() - began, "hyperparameters": {}})

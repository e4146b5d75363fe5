"""``python -m benchmarks.controls [--workspace W] [--only wrong|right] [--worlds NAME] [--seeds W R] [--development]``.

*wrong*: models that were trained otherwise than their recipe says, by a loop of their own on all rows. Each is handed
over as the original; the model under test is another of its kind, by another seed, that holds everything and is
registered nowhere. None may end ``forgotten``. Which safeguard catches it: the reproduction check before members are
trained, a control, or none. The same model is judged once more as what somebody made of a right original.

*right*: models that were trained as the recipe says, and really retrained ones: how many the check or a control turns
down, and how many of the retrained end ``forgotten`` by the largest trace that a policy allows.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import results
from benchmarks.controls import differences, worlds
from benchmarks.controls.worlds import World
from neuralyzer.data.request import ErasureRequest
from neuralyzer.models import training
from neuralyzer.models.trained import TrainedModel
from neuralyzer.references.pool import References
from neuralyzer.references.training import reproduction
from neuralyzer.trace.verdict import Verdict
from neuralyzer.verification.audit import audit
from neuralyzer.verification.verify import verify
from neuralyzer.workspace.paths import Workspace
from neuralyzer.workspace.policy import Policy

LIMITS = (1.0, 0.75, 0.5)  # of ``policy.max_trace``
OTHER, RETRAINED = 700_000, 800_000  # seeds of models under test


def pool_of(world: World, root: Path) -> tuple[TrainedModel, References]:
    """A right original and the pool of its recipe."""
    oracle = TrainedModel.fit(world.recipe, world.data, world.holdout)
    place = Workspace(root / world.name)
    return oracle, References.fit(oracle, world.size, workspace=place, keep_weights=True, unchecked=True)


def checked(oracle: TrainedModel, pool: References) -> str | None:
    """What the reproduction check says of a model, by the pool's first member."""
    return reproduction.compare(oracle, pool.member(0), np.flatnonzero(pool.tuning.held(0))).reason


def judged(model: torch.nn.Module, oracle: TrainedModel, pool: References, subject: str, policy: Policy) -> Any:
    """A verification by the protocol of its own audit."""
    request = ErasureRequest(subjects=[subject])
    return verify(model, oracle, request, pool, policy, protocol=audit(oracle, request, pool, policy).protocol)


def wrong(world: World, root: Path, kinds: dict[str, differences.Loop]) -> Iterator[dict[str, Any]]:
    """A line a difference; the other kind of model is also judged as what somebody made of a right original."""
    declared, pool = pool_of(world, root)
    x, y, outside = world.data.x, world.data.y, (world.holdout.x, world.holdout.y)
    for kind, loop in kinds.items():
        first, second = (loop.train(world.recipe, x, y, outside, world.recipe.seed + k) for k in (0, OTHER))
        oracle = TrainedModel(first, world.recipe, world.data, world.holdout)
        own = References.open(pool.store.root, oracle)
        names = world.asked or np.unique(world.data.subjects)
        said = [judged(second, oracle, own, name, Policy()) for name in names]
        foreign = [judged(second, declared, pool, name, Policy()) for name in names]
        retained = [one.retained_control for one in foreign]
        yield {
            "world": world.name, "kind": kind, "check": checked(oracle, own),
            "controls": [not said[0].positive_control.passed, any(not one.self_check.passed for one in said)],
            "found": [said[0].positive_control.found, said[0].positive_control.promised],
            "verdicts": _words([one.verdict for one in said]),
            "of a right original": _words([one.verdict for one in foreign]),
            "kept rows not found": sum(one is not None and not one.passed for one in retained),
        }  # fmt: skip


def right(world: World, root: Path, originals: int = 3, subjects: int = 8) -> dict[str, Any]:
    """What becomes of right originals and of really retrained models."""
    oracle, pool = pool_of(world, root)
    every = [oracle]
    for k in range(1, originals):
        model = training.train(replace(world.recipe, seed=OTHER + k), world.data)
        every.append(TrainedModel(model, world.recipe, world.data, world.holdout))
    drawn = np.random.default_rng(world.recipe.seed).permutation(np.unique(world.data.subjects))[:subjects]
    names = [str(name) for name in np.resize(world.asked or drawn, subjects)]
    retrained = []
    for k, name in enumerate(names):
        rest = world.data.select(world.data.subjects != name)
        retrained.append(training.train(replace(world.recipe, seed=RETRAINED + k), rest))
    lines, words = [], {str(limit): [] for limit in LIMITS}
    for one in every:
        own = References.open(pool.store.root, one)
        said = [
            judged(model, one, own, name, Policy(max_trace=1.0)) for name, model in zip(names, retrained, strict=True)
        ]
        lines.append(
            {
                "check": checked(one, own),
                "positive": [
                    own_.positive_control.passed
                    for own_ in (audit(one, ErasureRequest(subjects=names[:1]), own), said[0])
                ],
                "negative": [check.self_check.passed for check in said],
                "retained": [check.retained_control is None or check.retained_control.passed for check in said],
            }
        )
        for limit in LIMITS:
            words[str(limit)] += [
                str(Verdict.INCONCLUSIVE)
                if check.verdict is Verdict.FORGOTTEN and check.bound > limit
                else str(check.verdict)
                for check in said
            ]
    return {"world": world.name, "originals": lines, "verdicts": {limit: _words(own) for limit, own in words.items()}}


def _words(verdicts: list[Any]) -> dict[str, int]:
    said = [str(verdict) for verdict in verdicts]
    return {word: said.count(word) for word in sorted(set(said))}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, default=Path(tempfile.gettempdir()) / "neuralyzer-controls")
    parser.add_argument("--only", choices=("wrong", "right"))
    parser.add_argument("--development", action="store_true", help="the seeds and differences that were built on")
    parser.add_argument("--worlds", default="", help="only those whose name has this in it")
    parser.add_argument("--seeds", type=int, nargs=2, help="of the wrong and of the right worlds")
    options = parser.parse_args(argv)
    seeds = options.seeds or ((1, 2) if options.development else (63, 64))
    kinds = differences.BUILT_ON if options.development else differences.HELD_OUT
    found: dict[str, Any] = {}
    if options.only != "right":
        found["wrong"] = []
        for build in (own for name, own in worlds.WRONG.items() if options.worlds in name):
            for line in wrong(build(seeds[0]), options.workspace, kinds):
                print(line, flush=True)
                found["wrong"].append(line)
    if options.only != "wrong":
        found["right"] = []
        for build in (own for name, own in worlds.RIGHT.items() if options.worlds in name):
            if (world := build(seeds[1])) is not None:
                found["right"].append(right(world, options.workspace))
                print(found["right"][-1], flush=True)
    results.write("controls-development" if options.development else "controls", found)


if __name__ == "__main__":
    main()

"""The calibration of the trace: ``python -m benchmarks.calibration [--workspace W] [--worlds NAME ...] [--only PART ...]``.

Models are made once, kept in the workspace, and gone on with where a run was stopped. Each part writes its figures to
``benchmarks/results/calibration-PART.json``.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results
from benchmarks.calibration import figures, forgetting, lineage, siblings, speed
from benchmarks.calibration.judged import SCALES, lines, rescaled
from benchmarks.calibration.models import Made
from benchmarks.calibration.worlds import BUILDERS, SMALL, world

DIGITS, CIFAR = ("digits-11", "digits-12", "digits-13"), "cifar10-14"
HARD = {
    "hard subjects": ("hard",), "wrong labels": ("wrong-labels",), "clusters": ("clusters",),
    "20 % of the data": ("large",), "three at once": ("three-11", "three-12", "three-13"),
    "BatchNorm and augmentation": ("batchnorm-22",), "regression": ("regression-23",),
}  # fmt: skip
SIBLINGS = ("siblings-19", "siblings-20")
POOLS = ("pool-16-0.62", "pool-32-0.75", "digits-11", "pool-64-0.9")
BOTH = ("judging", "tuning")


class Bench:
    """All worlds in a workspace."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cache  # noqa: B019  one bench a process
    def made(self, name: str) -> Made:
        return Made(world(name), self.root)

    def lines(self, names: tuple[str, ...], *kinds: str, splits: tuple[str, ...] = ("judging",)) -> list[dict]:
        return [line for name in names for line in lines(self.made(name), kinds, splits)]

    def there(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the worlds whose data are at hand."""
        return tuple(name for name in names if name != CIFAR or "NEURALYZER_DATA" in os.environ)

    def false_alarms(self) -> dict[str, Any]:
        """Models really retrained without the rows."""
        found = {}
        for label, names in {"digits": DIGITS, "cifar10": (CIFAR,), **HARD}.items():
            for name in self.there(names):
                found.setdefault(label, []).extend(self.lines((name,), "retrained", splits=BOTH))
        for scale in SCALES:
            found[f"logits x {scale}"] = [line for name in DIGITS for line in rescaled(self.made(name), scale)]
        return {label: self._alarms(own) for label, own in found.items() if own}

    def _alarms(self, own: list[dict]) -> dict[str, Any]:
        judging = [line for line in own if line["half"] == "judging"]
        return {
            "judging half": figures.rate(judging, lambda line: line["rejects"]),
            "both halves": figures.rate(own, lambda line: line["rejects"]),
            "as the verdict takes it": figures.rate(judging, lambda line: line["rejects_counting"]),
            "words": figures.words(judging),
            "traces": figures.intervals(judging, 0.0),
        }

    def power(self) -> dict[str, Any]:
        """Originals: models that saw all rows."""
        found: dict[str, Any] = {}
        for label, names in {"digits": DIGITS, "cifar10": self.there((CIFAR,))}.items():
            own = self.lines(names, "original")
            found[label] = {
                "caught": figures.rate(own, lambda line: line["rejects"]),
                "caught where the finest family's detectable trace is at most 1": figures.rate(
                    [line for line in own if figures.finest(line) <= 1], lambda line: line["rejects"]
                ),
                "share with such a family": float(np.mean([figures.finest(line) <= 1 for line in own]))
                if own
                else None,
            }
        own = self.lines(("small",), "original")
        alarms = self.lines(("small",), "retrained")
        for rows, names in SMALL.items():
            found[f"subjects of {rows}"] = {
                "caught": figures.rate([x for x in own if x["request"] in names], lambda line: line["rejects"]),
                "false alarms": figures.rate(
                    [x for x in alarms if x["request"] in names], lambda line: line["rejects"]
                ),
            }
        for name in POOLS:
            found[name] = {
                "caught": figures.rate(self.lines((name,), "original"), lambda line: line["rejects"]),
                "false alarms": figures.rate(self.lines((name,), "retrained"), lambda line: line["rejects"]),
            }
        return found

    def interval(self) -> dict[str, Any]:
        """Models that kept a known share of a subject's rows, and so a known part of its trace."""
        names = ("digits-11", "digits-12")
        found = {"0": figures.intervals(self.lines(names, "retrained"), 0.0)}
        for share in (0.25, 0.5, 0.75):
            found[str(share)] = figures.intervals(self.lines(names, f"share-{share}"), None)
        return found | {"1": figures.intervals(self.lines(names, "original"), 1.0)}

    def siblings(self) -> dict[str, Any]:
        """Requests of several subjects that the screen refuses."""
        alike = [
            hit for name in SIBLINGS for hit in siblings.refused(self.made(name), siblings.families(self.made(name)))
        ]
        found = {"siblings refused": siblings.share(alike)}
        for size in (2, 3, 10):
            hits = [
                hit
                for name in DIGITS
                for hit in siblings.refused(self.made(name), siblings.unrelated(self.made(name), size))
            ]
            found[f"{size} unrelated refused"] = siblings.share(hits)
        return found

    def forgetting(self) -> dict[str, Any]:
        """One attempt of each method, beside the really retrained."""
        found = {}
        for name in self.there((*DIGITS, CIFAR)):
            made = self.made(name)
            utility = forgetting.retrained_utility(made)
            real = self.lines((name,), "retrained")
            not_rejected = figures.rate(real, lambda line: not line["rejects"])
            retrained = {"not rejected": not_rejected, "words": figures.words(real), "utility": utility}
            found[name] = {"retrained": retrained | {"plan's picks": forgetting.picks(made)}}
            for method in forgetting.METHODS:
                found[name][method] = self._attempts(made, method)
                lost = 100 * (utility - found[name][method]["utility"])
                found[name][method]["points below retrained"] = lost
        return found

    def matching(self) -> dict[str, Any]:
        """One attempt of ``datamodel-matching`` by pools alone: no retrained model is needed.

        Where the pool's members that never saw the rows stand is the utility to compare with.
        """
        found = {}
        for name in self.there((*DIGITS, CIFAR)):
            made = self.made(name)
            found[name] = self._attempts(made, "datamodel-matching")
            found[name]["members that never saw the rows"] = float(
                np.mean([forgetting.members_utility(made, request) for request in made.world.requests])
            )
        return found

    def _attempts(self, made: Made, method: str) -> dict[str, Any]:
        asked = made.world.requests[: dict(made.world.unlearned).get(method)]
        own = [forgetting.forgotten(made, request, method) for request in asked]
        return {
            "not rejected": figures.rate(own, lambda line: not line["rejects"]), "words": figures.words(own),
            "utility": float(np.mean([line["utility"] for line in own])), "traces": figures.intervals(own, 0.0),
            "seconds": float(np.median([line["seconds"] for line in own])),
        }  # fmt: skip

    def lineage(self) -> dict[str, Any]:
        """The tenth request on one lineage beside the first."""
        return lineage.measured(self.made("digits-12"))

    def speed(self) -> dict[str, Any]:
        """One more subject with a ready pool."""
        return speed.measured(self.made("digits-11"))


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "false-alarms": Bench.false_alarms, "power": Bench.power, "interval": Bench.interval, "siblings": Bench.siblings,
    "forgetting": Bench.forgetting, "matching": Bench.matching, "lineage": Bench.lineage, "speed": Bench.speed,
}  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, default=Path(tempfile.gettempdir()) / "neuralyzer-calibration")
    parser.add_argument("--worlds", nargs="*", default=list(BUILDERS))
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=list(PARTS))
    options = parser.parse_args(argv)
    bench = Bench(options.workspace)
    worlds = bench.there(tuple(options.worlds))
    missing = {name: len(bench.made(name).missing()) + bench.made(name).missing_members() for name in worlds}
    print(
        f"{sum(missing.values()):,} models to train in {sum(map(bool, missing.values()))} of {len(worlds)} worlds, in "
        f"{options.workspace}: about a second each stacked on two cores, 8 s for CIFAR-10's network, and as much again "
        "to read them; all of it takes about an hour and a half, and goes on where it was stopped",
        flush=True,
    )
    for name in worlds:
        if missing[name]:
            bench.made(name).make()
    for part in options.only:
        print(f"-- {part}", flush=True)
        results.write(f"calibration-{part}", PARTS[part](bench))


if __name__ == "__main__":
    main()

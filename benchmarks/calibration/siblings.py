"""How often the screen refuses siblings, and how often it refuses customers who have nothing to do with each other."""

from typing import Any

import numpy as np

from benchmarks.calibration.figures import wilson
from benchmarks.calibration.models import Made
from neuralyzer.references.signal_values import Part, SplitValues
from neuralyzer.trace import screen

UNRELATED = 40  # random requests of each size, a world


def refused(made: Made, requests: list[list[int]]) -> list[bool]:
    """Whether the tuning split refuses each request of subjects, given by number."""
    split: SplitValues = made.references.tuning.values
    asked = ([Part(subject, split.positions[subject]) for subject in request] for request in requests)
    return [screen.obstacle(split, "margin", parts) is not None for parts in asked]


def families(made: Made) -> list[list[int]]:
    """The siblings' requests: whole families of three."""
    names = np.unique(made.world.data.subjects)
    stems = sorted({name.rpartition("-")[0] for name in names})
    return [[k for k, name in enumerate(names) if name.rpartition("-")[0] == stem] for stem in stems]


def unrelated(made: Made, size: int) -> list[list[int]]:
    """Random requests of ``size`` customers."""
    generator = np.random.default_rng([made.world.seed, size])
    count = len(np.unique(made.world.data.subjects))
    return [[int(k) for k in generator.permutation(count)[:size]] for _ in range(UNRELATED)]


def share(hits: list[bool]) -> dict[str, Any]:
    """A share with Wilson's interval."""
    return {"share": float(np.mean(hits)), "wilson": wilson(sum(hits), len(hits)), "cases": len(hits)}

"""The settings of fine-tuning that the trace is tried in, as worlds of the calibration.

Seeds below 10 were used while the algorithms were built; what is reported comes from the others.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.calibration import worlds as calibration
from benchmarks.language import worlds

SEED = 11
MEMBERS = 32  # of both splits
LEAVE_OUT = 0.37  # share of the authors that a member lacks
AUTHORS = 10  # of a setting, each asked for alone
ORIGINALS = 2  # further models trained on all rows


@dataclass(frozen=True)
class Setting:
    """How the base is fine-tuned.

    Attributes:
        lora: settings of the adapters; None to train all weights.
        epochs: passes over the rows.
        rate: learning rate.
    """

    lora: dict[str, Any] | None
    epochs: int
    rate: float


SETTINGS = {
    "lora": Setting(worlds.LORA, 15, 4e-3),
    "full": Setting(None, 15, 2e-3),
    "memorised": Setting(None, 20, 8e-3),  # a token has a probability of .92 on average
    "barely": Setting(worlds.LORA, 3, 4e-3),
}


def made(name: str, root: Path, seed: int = SEED) -> tuple[worlds.World, calibration.World]:
    """Return a setting's world of authors, and the same as a world of the calibration."""
    own = SETTINGS[name]
    place = root / "texts"
    place.mkdir(parents=True, exist_ok=True)
    world = worlds.World(worlds.base(root), place, seed, own.epochs, own.lora, own.rate)
    requests = tuple((author,) for author in world.authors[0][:AUTHORS])
    return world, calibration.World(
        f"{name}-{seed}", world.recipe, world.data, world.holdout, requests, retrained=1, originals=ORIGINALS,
        size=MEMBERS, leave_out=LEAVE_OUT, seed=seed,
    )  # fmt: skip

"""Runs the benchmarks: ``python -m benchmarks [name ...]``; all of the quick ones by default."""

import sys

from benchmarks import (
    attacks,
    capacity,
    claims,
    curvature,
    groups,
    influence,
    large,
    large_texts,
    ledger,
    locate,
    near_copies,
    pool,
    power,
    reproduction,
    scaling,
    service,
    speed,
    stage_seconds,
    texts_claims,
)
from benchmarks.language import signals

ALL = {
    "locate": locate, "pool": pool, "curvature": curvature, "influence": influence,
    "attacks": attacks, "claims": claims, "power": power, "large": large, "large_texts": large_texts,
    "scaling": scaling, "service": service, "speed": speed, "stage_seconds": stage_seconds, "capacity": capacity,
    "reproduction": reproduction, "groups": groups, "near_copies": near_copies, "texts_claims": texts_claims,
    "language_signals": signals, "ledger": ledger,
}  # fmt: skip
QUICK = ["locate", "near_copies", "pool", "curvature", "influence"]


def main() -> None:
    names = sys.argv[1:] or QUICK
    for name in names:
        if name not in ALL:
            sys.exit(f"there is no benchmark {name!r}; there are {', '.join(ALL)}")
    for name in names:
        print(f"-- {name}")
        ALL[name].main([])


if __name__ == "__main__":
    main()

"""Makes the worlds' models and measures: ``python -m benchmarks.calibration [--worlds NAME ...] [--only make]``."""

import argparse
import tempfile
from pathlib import Path

from benchmarks.calibration.models import Made
from benchmarks.calibration.worlds import BUILDERS, world


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, default=Path(tempfile.gettempdir()) / "neuralyzer-calibration")
    parser.add_argument("--worlds", nargs="+", default=[name for name in BUILDERS])
    options = parser.parse_args(argv)
    for name in options.worlds:
        Made(world(name), options.workspace).make()


if __name__ == "__main__":
    main()

"""Where benchmarks write what they measured, and on what machine."""

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

FOLDER = Path(__file__).parent / "results"


def path(name: str) -> Path:
    """Where they lie."""
    return FOLDER / f"{name}.json"


def write(name: str, measured: dict[str, Any]) -> None:
    """Print the figures and keep them in ``benchmarks/results/<name>.json``."""
    machine = {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "python": platform.python_version()}
    content = {"machine": machine | {"torch": torch.__version__}, **measured}
    FOLDER.mkdir(exist_ok=True)
    path(name).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    print(json.dumps(measured, indent=1))


def read(name: str) -> dict[str, Any]:
    """What ``write`` kept."""
    return dict(json.loads(path(name).read_text()))

"""The recipes of ``examples/``, which benchmarks take over."""

import importlib.util
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parents[1] / "examples"


def oracle(name: str) -> ModuleType:
    """The module ``examples/<name>/oracle.py``: ``data(...)`` and ``recipe(...)``."""
    spec = importlib.util.spec_from_file_location(f"{name}_oracle", EXAMPLES / name / "oracle.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

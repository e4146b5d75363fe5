"""Factors of the curvature, computed once a model and kept beside its references, so that a request pays a solve only.

They saw every training row, those of a later request too; so they go when a case closes, and its successor's are made
of the rows that are left.
"""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from neuralyzer.influence.ekfac import Block, Ekfac, ekfac
from neuralyzer.influence.layers import covered
from neuralyzer.models.kinds.kind import Capability
from neuralyzer.models.trained import TrainedModel
from neuralyzer.workspace import atomic

ROWS = 2000  # estimated from so many: half as many change an update's direction by a few per cent
SEED = 0
UNREADABLE = (safetensors.SafetensorError, OSError)  # a file that is missing or not whole is made again from the model


def factors(oracle: TrainedModel, path: Path | None = None) -> Ekfac:
    """A model's factors.

    Args:
        oracle: the model and its rows.
        path: where they are kept; None to keep nothing.

    Returns:
        Those that were kept for this very model, or new ones.

    Raises:
        StorageError: if the disk is full.
    """
    known = None if path is None else _read(path, oracle.digest)
    if known is not None:
        return known
    made = ekfac(oracle.model, oracle.recipe.objective, oracle.data, ROWS, SEED)
    if path is not None:
        _write(made, path, oracle.digest)
    return made


def possible(oracle: TrainedModel) -> bool:
    """Return whether factors can be made: of layers, which an estimator or a bare embedding lacks, and curvature."""
    return Capability.CURVATURE in oracle.recipe.capabilities and bool(covered(oracle.model))


def ready(oracle: TrainedModel, path: Path | None) -> bool:
    """Whether a model's factors are kept."""
    if path is None:
        return False
    try:
        with safetensors.safe_open(path, "pt") as file:
            return _facts(file, oracle.digest) is not None
    except UNREADABLE:
        return False


def _write(made: Ekfac, path: Path, model: str) -> None:
    tensors = {
        f"{place}.{name}": getattr(block, name).contiguous()
        for place, block in enumerate(made.blocks)
        for name in ("inputs", "outputs", "values")
    }
    facts = {"model": model, "rows": made.rows, "blocks": [[block.weight, block.bias] for block in made.blocks]}
    metadata = {"neuralyzer": json.dumps(facts)}
    atomic.write_with(path, lambda part: safetensors.torch.save_file(tensors, part, metadata))


def _read(path: Path, model: str) -> Ekfac | None:
    """The factors in a file; None where there are none, or they are another model's, or the file is not whole."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            facts = _facts(file, model)
            if facts is None:
                return None
            blocks = [
                Block(weight, bias, *(file.get_tensor(f"{place}.{name}") for name in ("inputs", "outputs", "values")))
                for place, (weight, bias) in enumerate(facts["blocks"])
            ]
    except UNREADABLE:
        return None
    return Ekfac(tuple(blocks), facts["rows"])


def _facts(file: Any, model: str) -> dict[str, Any] | None:
    """What an open file says of its factors; None where they are another model's."""
    facts: dict[str, Any] = json.loads((file.metadata() or {}).get("neuralyzer", "{}"))
    return facts if facts.get("model") == model else None

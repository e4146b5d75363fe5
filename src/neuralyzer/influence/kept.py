"""EKFAC factors of a model, computed once and kept beside its references, so that a request only costs a solve.

They were computed from training rows, perhaps also from those of a later request. So they are deleted when a case
closes, and the factors of the new model are computed from the retained rows.
"""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from neuralyzer.influence.ekfac import Block, Ekfac, ekfac
from neuralyzer.influence.layers import covered
from neuralyzer.models.capabilities import Capability
from neuralyzer.models.trained import TrainedModel
from neuralyzer.workspace import atomic

# Sample of rows that factors are estimated from (docs/decisions/0021-matching.md). Half as many change the direction of
# an update by a few per cent.
ROWS = 2000
SEED = 0  # of the sample, fixed so that the same model has the same factors
UNREADABLE = (safetensors.SafetensorError, OSError)  # of a missing or damaged file: factors are computed again then


def factors(oracle: TrainedModel, path: Path | None = None) -> Ekfac:
    """Return a model's factors, read from a file or computed.

    Args:
        oracle: the model and its rows.
        path: the file that they are kept in; None to keep nothing.

    Returns:
        The kept factors where they are this model's, or new ones.

    Raises:
        StorageError: if the disk is full.
    """
    stored = None if path is None else _read(path, oracle.digest)
    if stored is not None:
        return stored
    computed = ekfac(oracle.model, oracle.recipe.objective, oracle.data, ROWS, SEED)
    if path is not None:
        _write(computed, path, oracle.digest)
    return computed


def possible(oracle: TrainedModel) -> bool:
    """Return whether factors can be computed: the objective has curvature, the model Linear or Conv2d layers."""
    return Capability.CURVATURE in oracle.recipe.capabilities and bool(covered(oracle.model))


def ready(oracle: TrainedModel, path: Path | None) -> bool:
    """Return whether a model's factors are kept in a file."""
    if path is None:
        return False
    try:
        with safetensors.safe_open(path, "pt") as file:
            return _metadata(file, oracle.digest) is not None
    except UNREADABLE:
        return False


def _write(computed: Ekfac, path: Path, model: str) -> None:
    """Write factors to a file with the digest of the model that they belong to."""
    tensors = {
        f"{number}.{name}": getattr(block, name).contiguous()
        for number, block in enumerate(computed.blocks)
        for name in ("inputs", "outputs", "values")
    }
    blocks = [[block.weight, block.bias] for block in computed.blocks]
    metadata = {"neuralyzer": json.dumps({"model": model, "rows": computed.rows, "blocks": blocks})}
    atomic.write_with(path, lambda part: safetensors.torch.save_file(tensors, part, metadata))


def _read(path: Path, model: str) -> Ekfac | None:
    """Return the factors in a file; None where it is missing, damaged or another model's."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = _metadata(file, model)
            if metadata is None:
                return None
            blocks = [
                Block(weight, bias, *(file.get_tensor(f"{number}.{name}") for name in ("inputs", "outputs", "values")))
                for number, (weight, bias) in enumerate(metadata["blocks"])
            ]
    except UNREADABLE:
        return None
    return Ekfac(tuple(blocks), metadata["rows"])


def _metadata(file: Any, model: str) -> dict[str, Any] | None:
    """Return the description of factors in an open file; None where they are another model's."""
    metadata: dict[str, Any] = json.loads((file.metadata() or {}).get("neuralyzer", "{}"))
    return metadata if metadata.get("model") == model else None

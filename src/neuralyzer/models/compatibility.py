"""Refuses a model and rows that do not go together, before anything is trained."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError, first_line
from neuralyzer.models import reading
from neuralyzer.models.calling import call
from neuralyzer.models.classification import Classification
from neuralyzer.models.classification import labels as class_labels
from neuralyzer.models.named import FAILURES
from neuralyzer.models.objective import Objective

ROWS = 64  # that are looked at
FAR = 1000.0  # inputs are scaled by this: what is bounded then, a softmax or sigmoid bounds
FEW = 8  # rows that are read in pairs and together
APART = 1e-3  # how far both may lie apart, as a part of the largest output: half precision rounds to as much
CLOSE = 1e-4  # of a sum of probabilities to 1


def require_compatible(module: nn.Module, objective: Objective, data: Data, holdout: Data | None = None) -> None:
    """Refuse a module that cannot read the rows, that has no output for a label, or that ends in a softmax or sigmoid.

    A margin of probabilities cannot grow beyond 1, and training on them learns little: whatever would be measured of
    such a model says nothing.

    Args:
        module: trained or not; left as it was.
        objective: what the outputs are for.
        data: training rows.
        holdout: further rows, if there are any.

    Raises:
        UsageError: if they do not go together.
    """
    x, y = data.gather(np.arange(min(ROWS, len(data))))
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            outputs = _outputs(module, objective, x)
            if isinstance(objective, Classification):
                _require_logits(module, x)
    finally:
        module.train(training)
    for rows, what in ((data, "training rows"), (holdout, "holdout")):
        if rows is not None and isinstance(objective, Classification):
            _require_labels(rows, outputs.shape[1], what)
    if not isinstance(objective, Classification) and len(outputs) == len(y) and outputs.ndim == 2:
        wanted = y.reshape(len(y), -1).shape[1]
        if objective.name == "regression" and outputs.shape[1] != wanted:
            raise UsageError(f"the model gives {outputs.shape[1]} numbers a row and there are {wanted} targets a row")


def require_readable(module: nn.Module, objective: Objective, data: Data, per_row: bool = True) -> None:
    """Refuse a module that references could not be made of: members would be trained for nothing.

    Args:
        module: left as it was.
        objective: what the outputs are for.
        data: training rows.
        per_row: whether its kind has gradients row by row.

    Raises:
        UsageError: if it cannot be copied, if a row's outputs depend on chance or on the rows beside it, or if it has
            no gradients row by row.
    """
    x, y = data.gather(np.arange(min(FEW, len(data))))
    if any(own.is_complex() for own in (*module.parameters(), *module.buffers())):
        raise UsageError("the model has complex weights, which no signal reads; split them into two real parts")
    try:
        with torch.no_grad():
            reading.outputs(module, objective, x)
        copied = copy.deepcopy(module).eval()
    except RuntimeError as error:
        raise UsageError(
            f"the model cannot be copied once it was called ({first_line(error)}); torch.nn.utils.parametrizations "
            "has weight_norm and spectral_norm in a form that can"
        ) from error
    with torch.no_grad():
        whole, again = (objective.outputs(copied, x) for _ in range(2))
        if not torch.equal(whole, again):
            raise UsageError(
                "the model gives other outputs for the same rows in evaluation mode: it draws random numbers"
            )
        pairs = (batches.trimmed(pair) for pair in batches.chunked(x, 2))
        alone = torch.cat([objective.outputs(copied, pair) for pair in pairs])
        if not torch.allclose(whole, alone, rtol=APART, atol=APART * float(whole.abs().max())):
            raise UsageError(
                "in evaluation mode a row's outputs depend on the rows beside it, as with "
                "BatchNorm(track_running_stats=False), or where padding is not masked; no row could be read by itself"
            )
    if not per_row:
        return
    try:
        reading.squared_gradient_norms(copied, objective, x, y)
    except RuntimeError as error:
        raise UsageError(
            f"the model has no gradients row by row ({first_line(error)}); an autograd function of your own needs "
            "setup_context and generate_vmap_rule = True"
        ) from error


def _outputs(module: nn.Module, objective: Objective, x: Inputs) -> Tensor:
    try:
        return objective.outputs(module, x)
    except UsageError:
        raise
    except FAILURES as error:
        raise UsageError(
            f"the model cannot read these rows, {batches.described(x)}: {type(error).__name__}: "
            f"{first_line(error)}; make what it takes with transform= or features="
        ) from error


def _require_labels(rows: Data, classes: int, what: str) -> None:
    """Refuse labels that the model has no output for."""
    labels = class_labels(rows.y)
    low, high = int(labels.min()), int(labels.max())
    if low >= 0 and high < classes:
        return
    if rows.classes is not None:
        raise UsageError(
            f"there are {len(rows.classes)} classes ({', '.join(rows.classes[:3])} ...) and the model has {classes} "
            "outputs; give it one a class, or name its classes with classes="
        )
    at = int(torch.nonzero((labels < 0) | (labels >= classes))[0])
    numbered = (
        f"the {what} have labels {low} to {high}" if what != "holdout" else f"the holdout has labels {low} to {high}"
    )
    way = (
        "count them from 0" if (low, high) == (1, classes)
        else "remove such rows: a label below 0 is no class" if low < 0
        else "give the model an output for each"
    )  # fmt: skip
    raise UsageError(
        f"{numbered}, row {at:,} has {int(labels[at])}, and the model's {classes} outputs are classes 0 to "
        f"{classes - 1}; {way}"
    )


def _require_logits(module: nn.Module, x: Inputs) -> None:
    """Refuse outputs that are probabilities already."""

    def scaled(factor: float) -> Inputs:
        return batches.mapped(x, lambda own: factor * own if own.is_floating_point() else own)

    probes = [x, scaled(FAR), scaled(-FAR)] if any(own.is_floating_point() for own in batches.tensors(x)) else [x]
    read = torch.cat([call(module, probe).reshape(batches.count(x), -1) for probe in probes])
    if _probabilities(read):
        what = "a softmax" if read.shape[1] > 1 else "a sigmoid"
        raise UsageError(
            f"the model's outputs are probabilities already, as {what} at its end gives them; take it off: "
            "Classification() takes logits"
        )


def _probabilities(outputs: Tensor) -> bool:
    """Whether every row holds numbers between 0 and 1, that sum to 1 where there are several."""
    if not torch.isfinite(outputs).all() or outputs.min() < 0 or outputs.max() > 1:
        return False
    if bool(((outputs == 0) | (outputs == 1)).all()):
        return False  # answers, not probabilities
    if outputs.shape[1] == 1:
        return bool(outputs.std() > 0)
    return bool((outputs.sum(1) - 1).abs().max() < CLOSE)

"""Checks that a model can read rows and be measured on them, made before anything is trained."""

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
from neuralyzer.models.kinds.kind import Selective
from neuralyzer.models.named import FAILURES
from neuralyzer.models.objective import Objective

# All five were chosen, not tuned.
CHECKED_ROWS = 64  # rows on which shapes and probabilities are checked
SCALE = 1000.0  # inputs are scaled by it: outputs that stay within 0 to 1 then are bounded by a softmax or sigmoid
PAIRED_ROWS = 8  # rows that are read both in pairs and together
PAIR_TOLERANCE = 1e-3  # largest difference of both readings, as a share of the largest output: half precision rounds so
SUM_TOLERANCE = 1e-4  # largest difference of a sum of probabilities from 1


def require_compatible(module: nn.Module, objective: Objective, data: Data, holdout: Data | None = None) -> None:
    """Refuse a module that cannot read the rows, that has no output for a label, or that ends in a softmax or sigmoid.

    Probabilities read as logits have margins below 1 and train badly, so nothing measured of such a model would mean
    anything.

    Args:
        module: trained or not; left as it was.
        objective: reads the outputs.
        data: training rows.
        holdout: further rows, if there are any.

    Raises:
        UsageError: if one of these is so.
    """
    for rows, what in ((data, "training rows"), (holdout, "holdout rows")):
        if rows is not None and isinstance(module, Selective):
            module.require_rows(rows, what)
    x, y = data.gather(np.arange(min(CHECKED_ROWS, len(data))))
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
        targets = y.reshape(len(y), -1).shape[1]
        if objective.name == "regression" and outputs.shape[1] != targets:
            raise UsageError(f"the model gives {outputs.shape[1]} numbers a row and there are {targets} targets a row")


def require_readable(module: nn.Module, objective: Objective, data: Data, per_row: bool = True) -> None:
    """Refuse a module whose references could not be read, before they are trained in vain.

    Args:
        module: left as it was.
        objective: reads the outputs.
        data: training rows.
        per_row: whether its kind has per-row gradients.

    Raises:
        UsageError: if it cannot be copied, if a row's outputs are random or depend on the other rows of a batch, or if
            per-row gradients cannot be computed.
    """
    x, y = data.gather(np.arange(min(PAIRED_ROWS, len(data))))
    if any(tensor.is_complex() for tensor in (*module.parameters(), *module.buffers())):
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
        in_pairs = torch.cat([objective.outputs(copied, pair) for pair in pairs])
        if not torch.allclose(whole, in_pairs, rtol=PAIR_TOLERANCE, atol=PAIR_TOLERANCE * float(whole.abs().max())):
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
    """Return a module's outputs; a failure of its own becomes one line that says what it was given."""
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
    """Refuse labels that the model has no output for; errors call the rows ``what``."""
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
    counted = (
        f"the {what} have labels {low} to {high}" if what != "holdout" else f"the holdout has labels {low} to {high}"
    )
    remedy = (
        "count them from 0" if (low, high) == (1, classes)
        else "remove such rows: a label below 0 is no class" if low < 0
        else "give the model an output for each"
    )  # fmt: skip
    raise UsageError(
        f"{counted}, row {at:,} has {int(labels[at])}, and the model's {classes} outputs are classes 0 to "
        f"{classes - 1}; {remedy}"
    )


def _require_logits(module: nn.Module, x: Inputs) -> None:
    """Refuse outputs that are probabilities already, on the rows and on the rows scaled far up and down."""

    def scaled(factor: float) -> Inputs:
        return batches.mapped(x, lambda tensor: factor * tensor if tensor.is_floating_point() else tensor)

    floating = any(tensor.is_floating_point() for tensor in batches.tensors(x))
    probes = [x, scaled(SCALE), scaled(-SCALE)] if floating else [x]
    outputs = torch.cat([call(module, probe).reshape(batches.count(x), -1) for probe in probes])
    if _are_probabilities(outputs):
        what = "a softmax" if outputs.shape[1] > 1 else "a sigmoid"
        raise UsageError(
            f"the model's outputs are probabilities already, as {what} at its end gives them; take it off: "
            "Classification() takes logits"
        )


def _are_probabilities(outputs: Tensor) -> bool:
    """Return whether every row holds numbers between 0 and 1, with sum 1 where there are several."""
    if not torch.isfinite(outputs).all() or outputs.min() < 0 or outputs.max() > 1:
        return False
    if bool(((outputs == 0) | (outputs == 1)).all()):
        return False  # votes or labels, not probabilities
    if outputs.shape[1] == 1:
        return bool(outputs.std() > 0)
    return bool((outputs.sum(1) - 1).abs().max() < SUM_TOLERANCE)

"""Refuses a classifier whose outputs are probabilities already: softmax would be taken twice."""

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.models.objective import Classification, Objective

ROWS = 64  # that are looked at
FAR = 1000.0  # inputs are scaled by this: what is bounded then, a softmax or sigmoid bounds
CLOSE = 1e-4  # of a sum of probabilities to 1


def require_logits(module: nn.Module, objective: Objective, data: Data) -> None:
    """Refuse a module that ends in a softmax or a sigmoid.

    A margin of such outputs cannot grow beyond 1, and training on them learns little: whatever would be measured of
    the model says nothing.

    Args:
        module: trained or not.
        objective: only ``Classification`` needs logits.
        data: rows that it can read.

    Raises:
        UsageError: if its outputs are probabilities.
    """
    if not isinstance(objective, Classification):
        return
    x, _ = data.gather(np.arange(min(ROWS, len(data))))
    probes = [x, FAR * x, -FAR * x] if x.is_floating_point() else [x]
    training = module.training
    module.eval()
    with torch.no_grad():
        read = torch.cat([module(probe).reshape(len(probe), -1) for probe in probes])
    module.train(training)
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

"""Pairwise influence: what removing each training row does to the loss on each target row."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.influence.ekfac import Block, Ekfac
from neuralyzer.influence.layers import Flows, covered, flows, products
from neuralyzer.models.objective import Objective

HELD = 1 << 25  # numbers in the target rows' gradients that are held at once, and as many in the training rows'
FEWEST, MOST = 8, 1024  # rows in a chunk


def row_scores(
    module: nn.Module,
    objective: Objective,
    rows: Data,
    target: Data,
    factors: Ekfac,
    damping: float,
    chunk: int | None = None,
) -> Tensor:
    """How much each training row's removal would change the loss of each target row, ``n`` times over.

    ``g_t' (H + damping I)^-1 g_i`` (Koh and Liang 2017, arXiv 1703.04730, equation 2, with the sign of removal) in
    EKFAC's curvature (Grosse et al. 2023, arXiv 2308.03296), over the parameters of its blocks. ``1/n`` of a score is
    the predicted change, so that the mean over target rows and ``1/n`` give what ``removal.row_influence`` gives.

    Both rows' gradients are turned into each block's eigenbasis, where the solve is a division; a chunk of target rows
    is held against the training rows a chunk at a time, so that memory does not grow with either.

    Args:
        module: trained on ``rows``; read in evaluation mode.
        objective: gives the losses.
        rows: the ``n`` training rows.
        target: the ``m`` rows whose losses are asked about.
        factors: ``H``, of ``module``.
        damping: added to every eigenvalue.
        chunk: rows of either kind held at once; by default as many as hold ``HELD`` numbers.

    Returns:
        ``(n, m)``; positive where the training row helps.

    Raises:
        UsageError: if the factors are those of another module.
    """
    module.eval()
    layers = covered(module)
    blocks = {block.weight.removesuffix("weight").removesuffix("."): block for block in factors.blocks}
    if not blocks.keys() <= layers.keys():
        raise UsageError("the factors are those of another module: it lacks some of their layers")
    layers = {name: layers[name] for name in blocks}
    if chunk is None:
        chunk = min(max(HELD // sum(block.values.numel() for block in blocks.values()), FEWEST), MOST)

    def gradients(outputs: Tensor, y: Tensor) -> Tensor:
        outputs = outputs.requires_grad_()
        return torch.autograd.grad(objective.losses(outputs, y).sum(), outputs)[0]

    found = []
    for asked in flows(module, objective, target, layers, gradients, chunk):
        solved = {name: own / (blocks[name].values + damping) for name, own in _turned(asked, blocks).items()}
        columns = []
        for given in flows(module, objective, rows, layers, gradients, chunk):
            turned = _turned(given, blocks)
            columns.append(sum(own.flatten(1) @ solved[name].flatten(1).T for name, own in turned.items()))
        found.append(torch.cat([torch.as_tensor(part) for part in columns]))
    return torch.cat(found, 1)


def _turned(captured: Flows, blocks: Mapping[str, Block]) -> dict[str, Tensor]:
    """Each row's gradient in each block's eigenbasis, ``(n, g, a)`` by layer."""
    return {
        name: products(inputs @ blocks[name].inputs, back @ blocks[name].outputs)
        for name, (inputs, back) in captured.items()
    }

"""Pairwise influence: what removing each training row does to a reading of each target row."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import UsageError
from neuralyzer.influence.ekfac import Block, Ekfac
from neuralyzer.influence.layers import CHUNK, Flows, covered, flows, products
from neuralyzer.models.objective import Objective

Reading = Callable[[Tensor, Tensor], Tensor]

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
    reading: Reading | None = None,
) -> Tensor:
    """Return ``n`` times the change of a reading of each target row that removing each training row would make.

    ``g_t' (H + damping I)^-1 g_i`` (Koh and Liang 2017, arXiv 1703.04730, equation 2, with the sign of removal) in
    EKFAC's curvature (Grosse et al. 2023, arXiv 2308.03296), over the parameters of its blocks. ``1/n`` of a score is
    the predicted change.

    Gradients of both kinds of rows are taken in each block's eigenbasis, where the solve is a division. Each
    chunk of target rows is multiplied by each chunk of training rows, so that memory does not grow with their numbers.

    Args:
        module: trained on ``rows``; read in evaluation mode.
        objective: gives the losses.
        rows: the ``n`` training rows.
        target: the ``m`` rows whose readings change.
        factors: ``H``, of ``module``.
        damping: added to every eigenvalue.
        chunk: rows of either kind held at once; by default as many as hold ``HELD`` numbers.
        reading: of outputs ``(m, C)`` and targets, one number a row, ``(m,)``; the objective's loss by default.

    Returns:
        ``(n, m)``; of losses, positive where the training row helps.

    Raises:
        UsageError: if the factors are those of another module.
    """
    module.eval()
    blocks, layers = _blocks(module, factors)
    if chunk is None:
        chunk = min(max(HELD // sum(block.values.numel() for block in blocks.values()), FEWEST), MOST)

    columns = []
    for target_flows in flows(module, objective, target, layers, _gradients(reading or objective.losses), chunk):
        in_basis = _in_eigenbasis(target_flows, blocks)
        solved = {name: gradient / (blocks[name].values + damping) for name, gradient in in_basis.items()}
        parts = []
        for row_flows in flows(module, objective, rows, layers, _gradients(objective.losses), chunk):
            in_basis = _in_eigenbasis(row_flows, blocks)
            parts.append(sum(gradient.flatten(1) @ solved[name].flatten(1).T for name, gradient in in_basis.items()))
        columns.append(torch.cat([torch.as_tensor(part) for part in parts]))
    return torch.cat(columns, 1)


def self_scores(
    module: nn.Module, objective: Objective, rows: Data, factors: Ekfac, damping: float, chunk: int = CHUNK
) -> Tensor:
    """Return ``n`` times the change of each row's own loss by its removal: ``g_i' (H + damping I)^-1 g_i``.

    Args:
        module: trained on the rows; read in evaluation mode.
        objective: gives the losses.
        rows: some of the training rows, ``k``.
        factors: ``H``, of ``module``.
        damping: added to every eigenvalue.
        chunk: rows held at once.

    Returns:
        ``(k,)``, none negative: how much the model memorised each row.

    Raises:
        UsageError: if the factors are those of another module.
    """
    module.eval()
    blocks, layers = _blocks(module, factors)
    parts = []
    for row_flows in flows(module, objective, rows, layers, _gradients(objective.losses), chunk):
        in_basis = _in_eigenbasis(row_flows, blocks)
        by_layer = [(g.square() / (blocks[name].values + damping)).flatten(1).sum(1) for name, g in in_basis.items()]
        parts.append(torch.stack(by_layer).sum(0))
    return torch.cat(parts)


def _blocks(module: nn.Module, factors: Ekfac) -> tuple[dict[str, Block], dict[str, nn.Linear | nn.Conv2d]]:
    """Return the factors' blocks and the module's layers, both by the layer's name.

    Raises:
        UsageError: if the module lacks one of the layers.
    """
    layers = covered(module)
    blocks = {block.weight.removesuffix("weight").removesuffix("."): block for block in factors.blocks}
    if not blocks.keys() <= layers.keys():
        raise UsageError("the factors are those of another module: it lacks some of their layers")
    return blocks, {name: layers[name] for name in blocks}


def _gradients(reading: Reading) -> Reading:
    """Return a function of outputs and targets: the gradient of a reading by the outputs, ``(n, C)``."""

    def gradients(outputs: Tensor, y: Tensor) -> Tensor:
        outputs = outputs.requires_grad_()
        return torch.autograd.grad(reading(outputs, y).sum(), outputs)[0]

    return gradients


def _in_eigenbasis(captured: Flows, blocks: Mapping[str, Block]) -> dict[str, Tensor]:
    """Return each row's gradient in each block's eigenbasis, ``(n, g, a)`` by layer."""
    return {
        name: products(inputs @ blocks[name].inputs, back @ blocks[name].outputs)
        for name, (inputs, back) in captured.items()
    }

"""A training loop of one's own, recorded, and a customer rolled back out of its model.

The digits' customers deliver their rows at two times: the loop trains on the early ones first and on all of them later.
A customer who came late demands erasure.
"""

import argparse
from pathlib import Path

import numpy as np
import rich
import torch
from torch import nn

import neuralyzer as nz
from neuralyzer.demo.digits import digits

LATE = ("customer-28", "customer-29", "customer-30")
SUBJECT = "customer-29"
BATCH, EARLY_PASSES, LATER_PASSES, EVERY = 16, 20, 10, 200


def build() -> nn.Module:
    """The architecture."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The loop's optimizer, which the recipe names too."""
    return torch.optim.AdamW(parameters, 1e-3)


# Rollback repeats the recorded steps by the recipe: its build, optimizer and objective must be the loop's.
RECIPE = nz.Recipe(build, optimizer=optimizer, epochs=EARLY_PASSES + LATER_PASSES, batch_size=BATCH)


def train(data: nz.Data, run: Path) -> nn.Module:
    """A plain PyTorch loop; what Neuralyzer needs of it are the line with 'record' and the one with 'step'."""
    torch.manual_seed(0)
    model = build()
    steps = optimizer(list(model.parameters()))
    x, y = data.x, data.y
    early = torch.from_numpy(np.flatnonzero(~np.isin(data.subjects, LATE)))
    later = torch.arange(len(data))
    with nz.record(run, model, data, every=EVERY, optimizer=steps) as recording:
        for rows in [early] * EARLY_PASSES + [later] * LATER_PASSES:
            for batch in rows[torch.randperm(len(rows))].split(BATCH):
                steps.zero_grad()
                nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
                steps.step()
                recording.step(data.ids[batch])
    return model


def main() -> None:
    """Train, then answer the request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("own-loop"), help="a new folder")
    out = parser.parse_args().out
    data, holdout = digits()
    run = out / "runs" / "first"  # 'locate' finds runs in the workspace's folder runs/
    oracle = nz.TrainedModel(train(data, run), RECIPE, data, holdout, run=run)
    request = nz.ErasureRequest(subjects=[SUBJECT], guarantee="exact")
    rich.print(nz.locate(request, out, data))
    case = nz.forget(oracle, request, workspace=out, method="rollback")
    method, basis = case.result["unlearning"]["method"], case.verification.basis
    print(f"{method}: {case.verdict}, basis {basis}")
    print(f"report       {case.report}")
    print(f"certificate  {case.certificate}")


if __name__ == "__main__":
    main()

"""CIFAR-10's Oracle: a small convolutional network on 5,000 images of 100 people, flipped and shifted in training.

The images are those of the folder that ``NEURALYZER_DATA`` names.
"""

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from pyarrow import parquet
from torch import Tensor, nn

import neuralyzer as nz

PEOPLE, IMAGES, HOLDOUT = 100, 50, 1000
MEAN, SPREAD = 0.47, 0.25


def net() -> nn.Module:
    """Three convolutions that halve the image each, and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(64, 128, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 10),
    )  # fmt: skip


def flipped_and_shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images mirrored, and the batch shifted by up to three pixels."""
    mirrored = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
    shift = torch.randint(-3, 4, (2,), generator=generator).tolist()
    return torch.roll(torch.where(mirrored, x.flip(3), x), shift, (2, 3))


def optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW with the weight decay that small convolutional networks are given."""
    return torch.optim.AdamW(parameters, 2e-3, weight_decay=0.05, fused=True)


def schedule(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """The rate falls to nothing by a cosine."""
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


def recipe(seed: int = 0, epochs: int = 80) -> nz.Recipe:
    """How the Oracle is trained: a minute or more on two cores."""
    return nz.Recipe(
        net, optimizer=optimizer, schedule=schedule, epochs=epochs, batch_size=128, seed=seed,
        augment=flipped_and_shifted,
    )  # fmt: skip


def images(table: pa.Table) -> np.ndarray:
    """Decoded and scaled images ``(N, 3, 32, 32)`` of a table with a column ``image`` of JPEG bytes."""
    decoded = [Image.open(io.BytesIO(cell["bytes"])).convert("RGB") for cell in table["image"].to_pylist()]
    x = np.stack([np.asarray(image) for image in decoded]).transpose(0, 3, 1, 2)
    return (x.astype(np.float32) / 255 - MEAN) / SPREAD


def data(seed: int = 0) -> tuple[nz.Data, nz.Data]:
    """Training rows of 100 people with 50 images each, and 1,000 images that no model sees."""
    folder = os.environ.get("NEURALYZER_DATA")
    if not folder:
        raise SystemExit("set NEURALYZER_DATA to the folder that holds cifar10/train.parquet and cifar10/test.parquet")
    generator = np.random.default_rng(seed)
    chosen = _some(Path(folder) / "cifar10" / "train.parquet", PEOPLE * IMAGES, generator)
    outside = _some(Path(folder) / "cifar10" / "test.parquet", HOLDOUT, generator)
    owners = np.repeat([f"person-{number:03d}" for number in range(PEOPLE)], IMAGES)
    generator.shuffle(owners)
    ids = [f"image-{number}" for number in range(len(chosen))]
    train = nz.Data.from_arrays(images(chosen), chosen["label"].to_numpy().astype(np.int64), owners, ids)
    held = [f"held-{number}" for number in range(HOLDOUT)]
    return train, nz.Data.from_arrays(images(outside), outside["label"].to_numpy().astype(np.int64), ids=held)


def _some(path: Path, count: int, generator: np.random.Generator) -> pa.Table:
    table = parquet.read_table(path)
    return table.take(np.sort(generator.permutation(len(table))[:count]))

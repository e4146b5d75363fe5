"""A small world of texts as token ids: rows of different lengths, three classes, twelve writers."""

from functools import partial

import numpy as np
import torch
from torch import nn

import neuralyzer as nz

WORDS, CLASSES, LONGEST = 60, 3, 14


class Reader(nn.Module):
    """Words, one layer of self-attention that leaves padding out, and the mean of what it gives."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.words, self.attention = nn.Embedding(WORDS, width), nn.MultiheadAttention(width, 2, batch_first=True)
        self.head = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, CLASSES))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        own, padded = self.words(input_ids), attention_mask == 0
        own = own + self.attention(own, own, own, key_padding_mask=padded, need_weights=False)[0]
        kept = attention_mask.unsqueeze(-1).to(own.dtype)
        return self.head((own * kept).sum(1) / kept.sum(1))


class Bag(nn.Module):
    """The mean of words that are no padding."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = (
            nn.Embedding(WORDS, 16),
            nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, CLASSES)),
        )

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        kept = attention_mask.unsqueeze(-1).to(self.words.weight.dtype)
        return self.head((self.words(input_ids) * kept).sum(1) / kept.sum(1))


def adamw(parameters: object, rate: float = 2e-2) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, rate)


def recipe(build=Bag, **changes):
    return nz.Recipe(build, **({"optimizer": partial(adamw), "epochs": 30, "batch_size": 60} | changes))


def texts(rows: int, seed: int) -> tuple[list[list[int]], np.ndarray]:
    """Each class has words of its own; a fifth of the labels are another class's, to be learned from the row alone."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(CLASSES, size=rows)
    share = WORDS // CLASSES
    written = [
        np.where(
            generator.random(length := int(generator.integers(3, LONGEST))) < 0.4,
            1 + label * (share - 1) + generator.integers(share - 1, size=length),
            generator.integers(1, WORDS, size=length),
        ).tolist()
        for label in labels
    ]
    other = generator.random(rows) < 0.2
    return written, np.where(other, (labels + 1) % CLASSES, labels)


def data() -> tuple[nz.Data, nz.Data]:
    """240 rows of 12 writers, and a holdout of 300."""
    (own, y), (rest, other) = texts(240, 1), texts(300, 2)
    writers = [f"writer-{k % 12}" for k in range(240)]
    return nz.Data.from_tokens(own, y, writers), nz.Data.from_tokens(rest, other, ids=[f"h{k}" for k in range(300)])

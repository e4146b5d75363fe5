"""Digests of rows: of their content as it is stored, and of their values."""

from collections.abc import Iterable

import numpy as np
from torch import Tensor

from neuralyzer.data import batches
from neuralyzer.data.batches import Inputs
from neuralyzer.data.layout import require_finite
from neuralyzer.workspace import digests


def of(chunks: Iterable[tuple[Inputs, Tensor]], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the digests of all rows; refuse rows with NaN or an infinite value.

    Args:
        chunks: all rows in order, some at a time.
        count: number of rows, ``N``.

    Returns:
        Digests of contents and of values, each ``(N,)`` of 32 bytes.
    """
    contents, values = np.empty(count, digests.ROW), np.empty(count, digests.ROW)
    start = 0
    for x, y in chunks:
        for values_of in batches.tensors(x):  # rows from the disk were not checked when the data was made
            require_finite(values_of, "the features", start)
        require_finite(y, "the targets", start)
        part = slice(start, start + len(y))
        inputs = batches.arrays(x)
        contents[part] = digests.of_rows(*inputs, y.numpy())
        values[part] = digests.of_values(inputs, y.numpy(), contents[part])
        start += len(y)
    return contents, values

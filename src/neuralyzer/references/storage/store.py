"""The folder of a pool: memory-mapped float32 signal values, members first, and a mark for each finished member."""

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuralyzer.errors import ReferencesError, StorageError
from neuralyzer.references.signal_values import Flags, Indices
from neuralyzer.workspace import atomic


@dataclass(frozen=True)
class Store:
    """The folder of a pool."""

    root: Path

    @property
    def lock(self) -> Path:
        """Return the lock file that a process holds while it changes the pool."""
        return self.root / "pool.lock"

    @property
    def head(self) -> Path:
        """Return the file of the pool's description."""
        return self.root / "pool.json"

    @property
    def seconds(self) -> float | None:
        """Return the seconds that making all members took; None where an older version made the pool."""
        path = self.root / "seconds.json"
        return float(atomic.read_json(path)["seconds"]) if path.exists() else None

    def add_seconds(self, seconds: float) -> None:
        """Add to the seconds that making the pool took."""
        atomic.write_json(self.root / "seconds.json", {"seconds": (self.seconds or 0.0) + seconds})

    @property
    def curvature(self) -> Path:
        """Return the file of the model's curvature factors, if a request needed them; they depend on every row."""
        return self.root / "curvature.safetensors"

    def control(self, model: str, pool: str, size: int, alpha: float) -> Path:
        """Return the file of the positive control of a model on groups of ``size`` subjects, at an error rate.

        The digests of model and pool are part of its name, since a pool that has grown is more sensitive.

        Returns:
            The path.
        """
        return self.root / "controls" / f"{model[:32]}-{pool[:16]}-{size}-{alpha:g}.json"

    def weights(self, member: int) -> Path:
        """Return the file of a member's weights, which exists until they are destroyed."""
        return self.root / "members" / f"{member:04d}.safetensors"

    def kept(self, members: Indices, clean: Flags) -> tuple[Path | None, ...]:
        """Return the files of weights that were kept, of the members that are ``clean``; None for the others."""
        paths = [self.weights(int(member)) for member in members]
        return tuple(path if path.exists() and is_clean else None for path, is_clean in zip(paths, clean, strict=True))

    def mark(self, member: int) -> Path:
        """Return the file that exists once a member is measured; it holds the member's utility."""
        return self.root / "measured" / f"{member:04d}.json"

    def measured(self, member: int) -> bool:
        """Return whether a member was measured by all signals."""
        return self.mark(member).exists()

    def array(self, name: str, shape: tuple[int, ...], write: bool = False) -> np.ndarray:
        """Open a memory-mapped float32 array, members first.

        Args:
            name: such as ``margin.rows``.
            shape: ``(members, ...)``; the file grows when there are more members than before.
            write: whether it may be changed.

        Returns:
            The array.

        Raises:
            ReferencesError: if it should be there and is not, or is too short.
            StorageError: if the disk is full.
        """
        path = self.root / "signals" / f"{name}.f32"
        size = int(np.prod(shape)) * 4
        if size == 0:  # no unit is large enough to be relearned
            return np.zeros(shape, dtype=np.float32).view(np.memmap)
        if write:
            atomic.make_folder(path.parent)
            have = path.stat().st_size if path.exists() else 0
            if have < size:
                _allocate(path, have, size)
        elif not path.exists() or path.stat().st_size < size:
            raise ReferencesError(f"{path} is missing or truncated; make the references again")
        return np.memmap(path, dtype=np.float32, mode="r+" if write else "r", shape=shape)

    def read_head(self) -> dict[str, Any]:
        """Read the pool's description.

        Returns:
            The description as plain values.

        Raises:
            ReferencesError: if there is none.
        """
        if not self.head.exists():
            raise ReferencesError(f"{self.root} holds no references; make them with 'neuralyzer references'")
        content: dict[str, Any] = atomic.read_json(self.head)
        return content

    def load(self, name: str) -> np.ndarray:
        """Read a small array of the pool's folder.

        Args:
            name: ``keep.npy`` or ``spread.npy``.

        Returns:
            The array.

        Raises:
            ReferencesError: if it is missing or truncated.
        """
        try:
            return np.asarray(np.load(self.root / name, allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise ReferencesError(
                f"{self.root / name} is missing or truncated ({error}); make the references again"
            ) from error

    def destroy_weights(self) -> int:
        """Delete every member's weights and return how many were deleted."""
        paths = sorted((self.root / "members").glob("*.safetensors"))
        for path in paths:
            path.unlink()
        return len(paths)


def _allocate(path: Path, have: int, size: int) -> None:
    """Make a file ``size`` bytes long and allocate its blocks, so that writing to a mapped page cannot fail."""
    free = shutil.disk_usage(path.parent).free
    if free < size - have:
        reason = errno.errorcode[errno.ENOSPC]
        raise StorageError(f"{path} needs {size - have:,} bytes and {free:,} are free ({reason})")
    path.touch(mode=0o600)
    with path.open("ab") as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        except OSError as error:
            file.truncate(have)
            raise StorageError(
                f"{path} cannot grow by {size - have:,} bytes: {error.strerror}; free space and run it again, "
                "what is measured is kept"
            ) from error

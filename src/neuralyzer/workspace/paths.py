"""Where a project's things lie: the folder ``.neuralyzer/`` and what is in it."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from neuralyzer.workspace.policy import Policy


@dataclass(frozen=True)
class Workspace:
    """A folder that holds cases, references, registered data sets and runs, weights and keys.

    Attributes:
        root: the folder; made on first write.
        policy: the limits that verdicts and plans are held to.
    """

    root: Path
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).absolute())

    def close_to_others(self) -> None:
        """Take the right to look in from everybody but the owner, where an early version or a copy gave it."""
        if os.name == "posix" and self.root.is_dir() and self.root.stat().st_mode & 0o077:
            self.root.chmod(0o700)

    @property
    def cases(self) -> Path:
        """One folder a case."""
        return self.root / "cases"

    @property
    def references(self) -> Path:
        """One folder a pool of reference models."""
        return self.root / "references"

    @property
    def datasets(self) -> Path:
        """One folder a registered data set version: ``manifest.parquet``, ``dataset.json``."""
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        """One folder a registered training run: ``run.json``, order of rows, checkpoints."""
        return self.root / "runs"

    @property
    def models(self) -> Path:
        """What is known of registered models: ``<name>.json``."""
        return self.root / "models"

    @property
    def threads(self) -> Path:
        """How many threads each recipe is computed with, as it was timed."""
        return self.root / "threads.json"

    @property
    def locks(self) -> Path:
        """One file a lineage that a process has worked on."""
        return self.root / "locks"

    @property
    def keys(self) -> Path:
        """The signing key and the key of the subjects' commitments, mode 0600."""
        return self.root / "keys"


def as_workspace(place: "Workspace | Path | str") -> Workspace:
    """A workspace from one, or from the path of its folder."""
    return place if isinstance(place, Workspace) else Workspace(Path(place))

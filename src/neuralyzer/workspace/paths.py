"""The paths of a project: the folder ``.neuralyzer/`` and its contents."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from neuralyzer.workspace.policy import Policy


@dataclass(frozen=True)
class Workspace:
    """A folder that holds cases, references, registered data sets and runs, weights and keys.

    Attributes:
        root: the folder; made on first write.
        policy: the limits for verdicts and plans.
    """

    root: Path
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).absolute())

    def close_to_others(self) -> None:
        """Remove all rights of others than the owner, which an early version or a copy may have given."""
        if os.name == "posix" and self.root.is_dir() and self.root.stat().st_mode & 0o077:
            self.root.chmod(0o700)

    @property
    def cases(self) -> Path:
        """Return the folder of cases, one folder each."""
        return self.root / "cases"

    @property
    def references(self) -> Path:
        """Return the folder of pools of references, one folder each."""
        return self.root / "references"

    @property
    def datasets(self) -> Path:
        """Return the folder of registered data set versions, one each: ``manifest.parquet``, ``dataset.json``."""
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        """Return the folder of registered training runs, one folder each: ``run.json``, order of rows, checkpoints."""
        return self.root / "runs"

    @property
    def models(self) -> Path:
        """Return the folder of registered models, one file each: ``<name>.json``."""
        return self.root / "models"

    @property
    def threads(self) -> Path:
        """Return the file with the number of threads of each recipe, as it was timed."""
        return self.root / "threads.json"

    @property
    def locks(self) -> Path:
        """Return the folder of locks, one file for each lineage."""
        return self.root / "locks"

    @property
    def keys(self) -> Path:
        """Return the folder of the signing key and the key of commitments, mode 0600."""
        return self.root / "keys"


def as_workspace(place: "Workspace | Path | str") -> Workspace:
    """Return a workspace from one, or from the path of its folder."""
    return place if isinstance(place, Workspace) else Workspace(Path(place))

"""A user's project: the settings in ``neuralyzer.toml``, and the current model of its lineage."""

import datetime as dt
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuralyzer.cases.case import Case
from neuralyzer.cases.options import CaseOptions
from neuralyzer.data.request import ErasureRequest, Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.errors import DataChangedError, WeightsError
from neuralyzer.ledger.log import Ledger
from neuralyzer.models import threads
from neuralyzer.models.kinds import model_folders
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.trained import TrainedModel
from neuralyzer.project import project_file, retention
from neuralyzer.project.lineage import Lineage, Version
from neuralyzer.project.project_data import ProjectData, keyed_missing, keyed_rows
from neuralyzer.references.building import folder_of
from neuralyzer.references.pool import References
from neuralyzer.registry.difference import difference
from neuralyzer.workspace import atomic, commitments, digests, locks
from neuralyzer.workspace.moments import now
from neuralyzer.workspace.paths import Workspace
from neuralyzer.workspace.policy import Policy


@dataclass(frozen=True)
class Project:
    """The settings of a project file.

    Attributes:
        path: of the file.
        tables: content of the file.
    """

    path: Path
    tables: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> "Project":
        """Read a project file.

        Returns:
            The project.

        Raises:
            UsageError: if it is missing, not TOML, or has tables or keys that a project file has not.
        """
        return cls(path, project_file.read(path))

    def locked(self) -> AbstractContextManager[None]:
        """Hold a lock so that no other command changes the current model of the lineage."""
        return locks.held(self.workspace.locks / "lineage.lock", "works on this project's model")

    @property
    def root(self) -> Path:
        """Return the folder that paths are relative to."""
        return self.path.absolute().parent

    @property
    def policy(self) -> Policy:
        """Return the limits for verdicts; they are part of a case's id, so the service's own keys are left out."""
        table = self.tables.get("policy", {})
        return Policy.from_table({key: value for key, value in table.items() if key not in project_file.OF_SERVICE})

    @cached_property
    def workspace(self) -> Workspace:
        """Return the workspace with cases, references and keys."""
        place = Workspace(self.root / project_file.FOLDER, self.policy)
        place.close_to_others()
        return place

    @cached_property
    def ledger(self) -> Ledger:
        """Return the workspace's ledger, which is made on first use; it is in the project's database where one is named."""
        return Ledger.of(self.workspace, self.tables.get("database", {}).get("url"))

    @cached_property
    def recipe(self) -> Recipe:
        """Return the recipe of the model."""
        return Recipe.find(self.tables["model"]["recipe"], self.root)

    @property
    def named(self) -> dict[str, str]:
        """Return the names of organisation, model and training rows in reports."""
        return {
            "model": Path(str(self.tables["model"]["weights"])).name,
            "data": str(self.tables["data"]["train"]),
        } | self.tables.get("report", {})

    def settle_threads(self) -> None:
        """Set torch's number of threads to the fastest for the recipe, which is timed once and then read."""
        torch.set_num_threads(threads.settled(self.workspace.threads, self.recipe, self.data).count)

    @cached_property
    def rows(self) -> ProjectData:
        """Return the rows of all files that the project names."""
        return ProjectData(self.root, self.tables["data"])

    @property
    def data(self) -> Data:
        """Return the training rows in the file."""
        return self.rows.training

    @property
    def holdout(self) -> Data | None:
        """Return the holdout, if there is one."""
        return self.rows.holdout

    @property
    def weights(self) -> Path:
        """Return the file of the original weights, also where an adapter's or a model's folder is named."""
        return model_folders.file_of(self.root / str(self.tables["model"]["weights"]))

    @property
    def run(self) -> Path:
        """Return the recorded training."""
        return self.workspace.runs / "train"

    @property
    def training_seconds(self) -> float | None:
        """Return the seconds that 'neuralyzer train' took; None where the weights came from elsewhere."""
        trained = self.workspace.root / "trained.json"
        return float(atomic.read_json(trained)["seconds"]) if trained.exists() else None

    def oracle(self) -> TrainedModel:
        """Return the current model of the lineage, with the rows that are left.

        Raises:
            WeightsError: if there are no weights yet.
            DataChangedError: if the training rows are not those that it was trained on.
        """
        version = self.lineage.version
        if version.weights is None and not self.weights.exists():
            raise WeightsError(f"{self.weights} does not exist; 'neuralyzer train' makes it, or name your own weights")
        self.settle_threads()
        return self.model_of(version)

    def model_of(self, version: Version) -> TrainedModel:
        """Return the model of a version, with the rows that are not erased from it.

        Args:
            version: of the lineage, whose weights are there.

        Returns:
            The model.

        Raises:
            DataChangedError: if the training rows are not those that it stands on.
        """
        trained = self.workspace.root / "trained.json"
        data, erased = self.data, set(version.erased)
        present = np.ones(len(data), dtype=bool)
        if erased:
            present[:] = [digest not in erased for digest in keyed_rows(data)]
        if trained.exists() and present.all() and not erased:
            registered = atomic.read_json(trained)["data"]
            if registered != data.digest:
                raise DataChangedError(
                    f"{self.tables['data']['train']} has changed since training "
                    f"({self._changes(registered, data)}digest {data.digest[:12]}, then {registered[:12]}); "
                    "restore it or train again"
                )
        run = self.run if (self.run / "run.json").exists() else None
        if version.weights is None:
            return TrainedModel.load(self.recipe, self.weights, data, self.holdout, run=run)
        remaining = data.select(present)
        if remaining.digest != version.data:
            raise DataChangedError(
                f"{self.tables['data']['train']} has changed since the last case "
                f"({self._changes(str(version.data), remaining)}digest {remaining.digest[:12]} "
                f"without the erased rows, then {str(version.data)[:12]}); restore it or train again"
            )
        holdout = self.holdout
        if holdout is not None and version.left_out:
            holdout = holdout.select(~np.isin(keyed_rows(holdout), version.left_out))
        return TrainedModel.load(
            self.recipe, self.root / version.weights, remaining, holdout, run=run, parent=version.parent
        )

    def _changes(self, registered: str, data: Data) -> str:
        """Return how the rows changed since they were registered, in words."""
        changes = difference(self.workspace, registered, data)
        return "" if changes is None else f"{changes}; "

    def device(self, requested: str | None) -> str | None:
        """Return the device for members and retrainings: the one asked for, else that of [references]."""
        return requested or self.tables.get("references", {}).get("device")

    def options(self, device: str | None = None, **more: Any) -> CaseOptions:
        """Return the options of a case that follow from the project.

        Args:
            device: in place of the project's own.
            **more: further options.

        Returns:
            The options.
        """
        return CaseOptions(
            folder=self.root, device=self.device(device), retrain_seconds=self.training_seconds,
            also=self.rows.searched, named=self.named, ledger=self.ledger, **more,
        )  # fmt: skip

    def references(self, oracle: TrainedModel) -> References | None:
        """Return the pool of the lineage, or None where there is none; refuse one made for another model."""
        path = self.pool_folder(oracle)
        if path is None:
            return None
        pools = sorted(self.workspace.references.glob("*/pool.json"))
        if path / "pool.json" in pools:
            return References.open(path, oracle)
        return References.open(pools[-1].parent, oracle) if pools else None

    def pool_folder(self, oracle: TrainedModel) -> Path | None:
        """Return where the pool of the model's lineage is, or would be; None without a holdout."""
        if oracle.holdout is None:
            return None
        groups, place = self.tables.get("references", {}).get("groups", ()), self.workspace.references
        present = folder_of(place, oracle, groups)  # of a pool made anew on the rows that are left
        if (present / "pool.json").exists():
            return present
        earlier = self.lineage.version.pool
        return folder_of(place, replace(oracle, data=self.data), groups) if earlier is None else place / earlier

    @property
    def lineage(self) -> Lineage:
        """Return the versions of the model."""
        return Lineage.read(self.workspace.root)

    def answered(self, request: ErasureRequest) -> dict[str, Any] | None:
        """Return the result of the case that answered this request on an earlier model of the lineage, or None.

        It may have been asked with another due date, reason or budget, and with a stronger guarantee.
        """
        known, wanted = self.lineage.version.cases, Guarantee(request.guarantee)
        asked = [replace(request, guarantee=one).wanted for one in Guarantee if one.satisfies(wanted)]
        asked.append(request.to_dict())  # by which earlier versions of Neuralyzer knew an answered request
        for case in (known.get(self._keyed(one)) for one in asked):
            if case is not None:
                content: dict[str, Any] = atomic.read_json(self.workspace.cases / case / "result.json")
                return content
        return None

    def _keyed(self, asked: dict[str, Any]) -> str:
        """Return a keyed digest of what was asked, which names nobody."""
        return commitments.commitment(self.workspace, [digests.of_json(asked)])

    def succeed(self, oracle: TrainedModel, answered: Sequence[tuple[ErasureRequest, Case]]) -> Version:
        """Make unlearned weights the current model of the lineage; their cases' rows are no longer its data.

        Args:
            oracle: the model that they were made from.
            answered: requests with their cases, which share one set of weights.

        Returns:
            The new version; the present one if it has answered them already.
        """
        lineage = self.lineage
        before, cases = lineage.version, {self._keyed(request.wanted): case.id for request, case in answered}
        if cases.items() <= before.cases.items():
            return before
        forgotten = np.unique(np.concatenate([request.positions(oracle.data) for request, _ in answered]))
        remaining = oracle.data.select(np.setdiff1d(np.arange(len(oracle.data)), forgotten))
        pool = self.pool_folder(oracle)
        version = Version(
            weights=os.path.relpath(answered[0][1].weights, self.root), parent=oracle.lineage, data=remaining.digest,
            erased=tuple(sorted({*before.erased, *keyed_rows(oracle.data.select(forgotten))})),
            pool=None if pool is None else pool.name, cases={**before.cases, **cases},
            left_out=tuple(sorted({*before.left_out, *keyed_missing(self.holdout, oracle.holdout)})),
        )  # fmt: skip
        lineage = lineage.released(version, now())
        lineage.write(self.workspace.root)
        self.keep_for_a_while(before)
        return lineage.version

    @property
    def retention_days(self) -> float | None:
        """Return how long what is replaced is kept; None without an end."""
        days = self.tables.get("policy", {}).get("retention_days")
        return None if days is None else float(days)

    def weights_of(self, version: Version) -> Path:
        """Return the file of a version's weights."""
        return self.weights.absolute() if version.weights is None else (self.root / version.weights).absolute()

    def keep_for_a_while(self, version: Version) -> None:
        """Put the weights of a version that was replaced on the list of what is deleted later, where there is a term."""
        if self.retention_days is not None:
            today, path = dt.datetime.now(dt.UTC).date(), self.weights_of(version)
            copies = [] if version.weights is None else [path.with_name("unlearned.safetensors")]
            what = f"the weights of version {version.number}"
            retention.keep(self.workspace.root, [path, *copies], what, self.retention_days, today)

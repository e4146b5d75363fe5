"""MLflow's registry of models: a released version becomes a new version there, and the alias moves to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from neuralyzer.errors import StorageError, UsageError, first_line

ALIAS = "champion"  # of the version in use
EXPERIMENT = "neuralyzer"
DIGEST = "neuralyzer.weights"  # tag with the SHA-256 of the weights, by which a version is found again


@dataclass(frozen=True)
class Registry:
    """A registered model of an MLflow server.

    Attributes:
        uri: of the server or its database, as MLflow takes it.
        model: name of the registered model; made on first use.
        alias: that marks the version in use.
    """

    uri: str
    model: str
    alias: str = ALIAS

    @classmethod
    def of(cls, table: Mapping[str, str]) -> "Registry":
        """Read the ``[mlflow]`` table of a project file.

        Args:
            table: its keys.

        Returns:
            The registry.

        Raises:
            UsageError: if MLflow is not installed, or a key is missing.
        """
        missing = [key for key in ("tracking_uri", "model") if key not in table]
        if missing:
            raise UsageError(f"[mlflow] lacks {missing[0]}; it takes tracking_uri, model, and may have alias")
        if find_spec("mlflow") is None:
            raise UsageError("[mlflow] needs the extra 'mlflow': pip install 'neuralyzer-unlearning[mlflow]'")
        return cls(table["tracking_uri"], table["model"], table.get("alias", ALIAS))

    def publish(self, weights: Path, digest: str, tags: Mapping[str, str]) -> str:
        """Register weights as a new version, and move the alias to it; weights that are there get the alias alone.

        Args:
            weights: their file, or the folder of an adapter.
            digest: SHA-256 of the file.
            tags: of lineage, such as parent and case; they name nobody.

        Returns:
            The number of the version.

        Raises:
            StorageError: if the server gives an error.
        """
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            number = self._known(client, digest) or self._new(client, weights, {**tags, DIGEST: digest})
            client.set_registered_model_alias(self.model, self.alias, number)
        except MlflowException as error:
            raise StorageError(f"MLflow at {self.uri}: {first_line(error)}") from error
        return number

    def _known(self, client: Any, digest: str) -> str | None:
        if not client.search_registered_models(f"name = '{self.model}'"):
            client.create_registered_model(self.model)
        found = [
            version.version
            for version in client.search_model_versions(f"name = '{self.model}'")
            if version.tags.get(DIGEST) == digest
        ]
        return str(found[0]) if found else None

    def _new(self, client: Any, weights: Path, tags: dict[str, str]) -> str:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        made = experiment.experiment_id if experiment is not None else client.create_experiment(EXPERIMENT)
        run = client.create_run(made, tags=tags)
        log = client.log_artifacts if weights.is_dir() else client.log_artifact
        log(run.info.run_id, str(weights), "weights")
        client.set_terminated(run.info.run_id)
        source = f"{run.info.artifact_uri}/weights"
        return str(client.create_model_version(self.model, source, run.info.run_id, tags=tags).version)

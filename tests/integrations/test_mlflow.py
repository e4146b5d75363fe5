"""A released version in MLflow's own registry, in SQLite and a folder."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from neuralyzer.errors import StorageError, UsageError
from neuralyzer.integrations.mlflow import DIGEST, Registry

pytest.importorskip("mlflow", reason="mlflow is not installed (extra mlflow)")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # MLflow's own, of its dependencies
]


@pytest.fixture
def registry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where MLflow puts artefacts
    return Registry.of({"tracking_uri": f"sqlite:///{tmp_path}/mlflow.sqlite", "model": "oracle"})


def weights(path, value):
    save_file({"w": torch.full((3,), value)}, path)
    return path


def test_each_release_is_a_version_and_the_alias_moves(registry, tmp_path):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri)
    first = registry.publish(weights(tmp_path / "one.safetensors", 1.0), "a" * 64, {"neuralyzer.version": "1"})
    second = registry.publish(weights(tmp_path / "two.safetensors", 2.0), "b" * 64, {"neuralyzer.version": "2"})
    assert (first, second) == ("1", "2")
    champion = client.get_model_version_by_alias("oracle", "champion")
    assert str(champion.version) == second and champion.tags[DIGEST] == "b" * 64
    assert champion.tags["neuralyzer.version"] == "2"
    folder = client.download_artifacts(champion.run_id, "weights", str(tmp_path))
    assert load_file(f"{folder}/two.safetensors")["w"].tolist() == [2.0] * 3


def test_a_release_that_is_told_again_and_a_rollback_make_no_new_version(registry, tmp_path):
    from mlflow import MlflowClient

    path = weights(tmp_path / "one.safetensors", 1.0)
    assert registry.publish(path, "a" * 64, {}) == registry.publish(path, "a" * 64, {}) == "1"
    registry.publish(path, "b" * 64, {})
    assert registry.publish(path, "a" * 64, {}) == "1"
    client = MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri)
    assert len(client.search_model_versions("name = 'oracle'")) == 2
    assert str(client.get_model_version_by_alias("oracle", "champion").version) == "1"


def test_a_folder_of_an_adapter_is_kept_whole(registry, tmp_path):
    from mlflow import MlflowClient

    folder = tmp_path / "model"
    folder.mkdir()
    weights(folder / "adapter_model.safetensors", 3.0)
    (folder / "adapter_config.json").write_text("{}")
    registry.publish(folder, "c" * 64, {})
    client = MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri)
    run = client.get_model_version_by_alias("oracle", "champion").run_id
    names = {entry.path for entry in client.list_artifacts(run, "weights")}
    assert names == {"weights/adapter_model.safetensors", "weights/adapter_config.json"}


@pytest.mark.parametrize("table", [{}, {"tracking_uri": "sqlite:///x"}, {"model": "oracle"}])
def test_a_table_that_lacks_a_key_is_refused(table):
    with pytest.raises(UsageError, match="lacks"):
        Registry.of(table)


def test_a_server_that_fails_is_one_clear_line(registry, monkeypatch):
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def fail(*given, **named):
        raise MlflowException("no such place\nand more")

    monkeypatch.setattr(MlflowClient, "search_registered_models", fail)
    with pytest.raises(StorageError, match=r"no such place$"):
        registry.publish(registry, "a" * 64, {})

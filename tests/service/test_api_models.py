"""Models, data sets and the search for a person over HTTP."""

import json

import pytest

from neuralyzer.project.lineage import Lineage, Version
from neuralyzer.registry.manifests import register_dataset
from tests.service.http import world_of


def test_models_say_what_was_erased_from_each_version(world):
    first = Version(weights="w1", erased=("a", "b"), cases={"k1": "case-111111111111"})
    second = Version(weights="w2", erased=("a", "b", "c"), cases={"k1": "case-111111111111", "k2": "case-222222222222"})
    lineage = Lineage().released(first, "2026-11-01T00:00:00+00:00").released(second, "2026-11-02T00:00:00+00:00")
    lineage.write(world.service.settings.workspace)
    (model,) = world.client("read").get("/v1/models").json()
    assert (model["name"], model["current"]) == ("shop", 2) and "retrain" in model["methods"]
    assert [one["erased_rows"] for one in model["versions"]] == [0, 2, 3]
    assert model["versions"][2]["cases"] == ["case-111111111111", "case-222222222222"]
    assert [one["current"] for one in model["versions"]] == [False, False, True]
    assert "w1" not in json.dumps(model)  # no path of the server


def test_datasets_are_those_that_are_registered(world):
    client = world.client("read")
    assert client.get("/v1/datasets").json() == []
    data = world.service.project.data
    register_dataset(world.service.settings.workspace, "train", data)
    (found,) = client.get("/v1/datasets").json()
    assert found == {"name": "train", "digest": data.digest, "rows": 40, "role": "training", "numbered": True}


@pytest.mark.parametrize("registered", [False, True])
def test_a_person_is_searched_for_by_a_name_in_the_body(world, registered):
    if registered:
        register_dataset(world.service.settings.workspace, "train", world.service.project.data)
    client = world.client()
    found = client.post("/v1/subjects/search", json={"subject": "c3@example.com"}).json()
    assert found["found"] and found["rows"] == 8 and found["datasets"][0]["rows"] == 8
    unknown = client.post("/v1/subjects/search", json={"subject": "c9@example.com"})
    assert unknown.json() == {"found": False, "rows": 0}  # and no similar name of somebody else
    assert client.get("/v1/subjects/search", params={"subject": "c3@example.com"}).status_code in (404, 405)


@pytest.mark.parametrize(
    "form", [{}, {"subject": ""}, {"subject": "a\nb"}, {"subject": ["a"]}, {"subject": "a", "path": "/etc"}]
)
def test_what_is_no_name_is_not_searched_for(world, form):
    assert world.client().post("/v1/subjects/search", json=form).status_code == 422


def test_a_search_sees_files_as_they_are_now(world):
    client, path = world.client(), world.service.project.root / "train.csv"
    assert client.post("/v1/subjects/search", json={"subject": "c3@example.com"}).json()["rows"] == 8
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "c3@" not in line) + "\n")
    assert not client.post("/v1/subjects/search", json={"subject": "c3@example.com"}).json()["found"]


def test_a_broken_project_says_nothing_of_the_servers_files(tmp_path):
    world = world_of(tmp_path)
    (tmp_path / "train.csv").unlink()
    answer = world.client().post("/v1/subjects/search", json={"subject": "c3@example.com"})
    assert answer.status_code == 500 and str(tmp_path) not in answer.text
    (tmp_path / "neuralyzer.toml").write_text("[model]\n")
    answer = world.client().post("/v1/subjects/search", json={"subject": "c3@example.com"})
    assert answer.status_code == 500 and str(tmp_path) not in answer.text
    world.service.requests.database.close()

"""``/v1/models`` and ``/v1/datasets``: versions, what was erased from each, and registered data."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from neuralyzer.methods import catalogue
from neuralyzer.project.lineage import Lineage
from neuralyzer.registry import manifests
from neuralyzer.service.api import problems
from neuralyzer.service.api.security import Reader
from neuralyzer.service.context import Here

routes = APIRouter(prefix="/v1", tags=["models"], responses=problems.ANSWERS)


class VersionView(BaseModel):
    """A version of the model; ``erased_rows`` and ``cases`` count from the original on."""

    number: int
    current: bool
    released: str | None
    withdrawn: str | None
    destroyed: str | None
    erased_rows: int
    cases: list[str]


class ModelView(BaseModel):
    """A model, its versions and the methods that can be asked for."""

    name: str
    current: int
    versions: list[VersionView]
    methods: list[str]


class DatasetView(BaseModel):
    """A version of a data set."""

    name: str
    digest: str
    rows: int
    role: str
    numbered: bool


@routes.get("/models")
def models(here: Here, token: Reader) -> list[ModelView]:
    """List the models with their versions."""
    lineage = Lineage.read(here.settings.workspace)
    same = ("number", "released", "withdrawn", "destroyed")
    versions = [
        VersionView(
            **{name: getattr(one, name) for name in same}, current=one.number == lineage.current,
            erased_rows=len(one.erased), cases=sorted(set(one.cases.values())),
        )
        for one in lineage.versions
    ]  # fmt: skip
    return [
        ModelView(
            name=here.settings.model, current=lineage.current, versions=versions, methods=sorted(catalogue.names())
        )
    ]


@routes.get("/datasets", response_model=list[DatasetView])
def datasets(here: Here, token: Reader) -> list[dict[str, Any]]:
    """List the registered data sets."""
    return [version.to_dict() for version in manifests.datasets(here.settings.workspace)]

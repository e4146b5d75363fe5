"""Neuralyzer makes a trained model forget chosen training data without destroying what else it knows, and proves it.

    import neuralyzer as nz
    case = nz.forget(oracle, nz.ErasureRequest(subjects=["AIFinn"]), references)

Names are loaded when first used, so that importing this package loads no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from neuralyzer import _moved

if TYPE_CHECKING:
    from neuralyzer.cases.case import Case as Case
    from neuralyzer.cases.forget import forget as forget
    from neuralyzer.data.request import ErasureRequest as ErasureRequest
    from neuralyzer.data.request import Guarantee as Guarantee
    from neuralyzer.data.rows import Data as Data
    from neuralyzer.errors import NeuralyzerError as NeuralyzerError
    from neuralyzer.models.classification import Classification as Classification
    from neuralyzer.models.objective import Objective as Objective
    from neuralyzer.models.recipe import Recipe as Recipe
    from neuralyzer.models.regression import Regression as Regression
    from neuralyzer.models.sharded import Sharded as Sharded
    from neuralyzer.models.trained import TrainedModel as TrainedModel
    from neuralyzer.planning.plan import plan as plan
    from neuralyzer.references.pool import References as References
    from neuralyzer.registry.locate import locate as locate
    from neuralyzer.registry.models import register_model as register_model
    from neuralyzer.registry.record import record as record
    from neuralyzer.trace.verdict import Verdict as Verdict
    from neuralyzer.unlearning.task import Task as Task
    from neuralyzer.verification.audit import audit as audit
    from neuralyzer.verification.claim import audit_rows as audit_rows
    from neuralyzer.verification.texts_claim import audit_texts as audit_texts
    from neuralyzer.verification.verify import verify as verify
    from neuralyzer.workspace.paths import Workspace as Workspace
    from neuralyzer.workspace.policy import Policy as Policy

__version__ = "0.1.0"
__all__ = [  # noqa: F822  __getattr__ has them
    "Case",
    "Classification",
    "Data",
    "ErasureRequest",
    "Guarantee",
    "NeuralyzerError",
    "Objective",
    "Policy",
    "Recipe",
    "References",
    "Regression",
    "Sharded",
    "Task",
    "TrainedModel",
    "Verdict",
    "Workspace",
    "__version__",
    "audit",
    "audit_rows",
    "audit_texts",
    "forget",
    "locate",
    "methods",
    "plan",
    "record",
    "register_model",
    "verify",
]
_moved.install()

_HOMES = {
    "Case": "cases.case",
    "Classification": "models.classification",
    "Data": "data.rows",
    "ErasureRequest": "data.request",
    "Guarantee": "data.request",
    "NeuralyzerError": "errors",
    "Objective": "models.objective",
    "Policy": "workspace.policy",
    "Recipe": "models.recipe",
    "References": "references.pool",
    "Regression": "models.regression",
    "Sharded": "models.sharded",
    "Task": "unlearning.task",
    "TrainedModel": "models.trained",
    "Verdict": "trace.verdict",
    "Workspace": "workspace.paths",
    "audit": "verification.audit",
    "audit_rows": "verification.claim",
    "audit_texts": "verification.texts_claim",
    "forget": "cases.forget",
    "locate": "registry.locate",
    "plan": "planning.plan",
    "record": "registry.record",
    "register_model": "registry.models",
    "verify": "verification.verify",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"neuralyzer.{_HOMES[name]}"), name)
    if name == "methods":
        return importlib.import_module("neuralyzer.methods")
    raise AttributeError(f"module 'neuralyzer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

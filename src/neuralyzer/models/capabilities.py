"""What can be done with a model: what its kind and its objective have, and what algorithms and signals need."""

from enum import StrEnum


class Capability(StrEnum):
    """Operations that a model allows. Its kind gives some, its objective others; algorithms and signals need some."""

    GRADIENTS = "gradients"
    ROW_GRADIENTS = "per-row gradients"
    INPUT_GRADIENTS = "gradients of its inputs"
    CONTINUED = "continued training"
    STACKED = "stacked training"
    CURVATURE = "curvature"
    MATCHING = "outputs that can be matched"
    TOKENS = "rows of tokens"


OF_OBJECTIVES = frozenset({Capability.CURVATURE, Capability.MATCHING})  # given by the objective, whatever the kind

"""The model in a certificate: digests of its weights, and of what binds them to data."""

from typing import Annotated

from pydantic import Field

from neuralyzer.certificates.controls import Record

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class WeightsRecord(Record):
    """The digests of the original's and the unlearned weights."""

    original: Digest = Field(description="SHA-256 of the original weights, as Neuralyzer writes their tensors")
    unlearned: Digest = Field(description="SHA-256 of the unlearned weights file, the one certified")
    original_file: Digest | None = Field(
        default=None, description="SHA-256 of the file that the original was read from; null where it was trained here"
    )
    tensors: Digest | None = Field(
        default=None, description="SHA-256 of the certified tensors, the same in every copy of them whatever its format"
    )
    base: Digest | None = Field(
        default=None,
        description="SHA-256 over configuration and weights of the pretrained base that the certified tensors are adapters "
        "of, or were trained from; null where there is none",
    )


class TrainingRecord(Record):
    """What binds the weights to data: with it, the original weights and the method, they can be made again."""

    recipe: Digest = Field(description="SHA-256 of the recipe: architecture, objective, optimizer and training loop")
    retained: Digest = Field(description="SHA-256 of the training rows that are left, with their ids and subjects")
    holdout: Digest | None = Field(description="SHA-256 of the rows that no model saw; null where there are none")

"""The settings of vector stores."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["VectorStoreSettings"]


class VectorStoreSettings(BaseModel):
    """Vector stores: what makes their vectors, and how much is done at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    embedding: str = Field(
        "",
        description="The deployment that makes the vectors of new vector stores; empty means the first embedding "
        "model that the project has.",
    )
    rewriter: str = Field(
        "",
        description="The deployment that rewrites queries for whoever asks for it; empty means the first chat model "
        "that the project has.",
    )
    concurrent: int = Field(2, ge=0, le=64, description="Indexing jobs that one server works on at once.")
    max_file_tokens: int = Field(5_000_000, ge=1, description="The most tokens of one file that is indexed.")
    index: Literal["embedded", "pgvector"] = Field(
        "embedded",
        description="Where what is searched lies: `embedded`, in files of each server; or `pgvector`, in the "
        "PostgreSQL database that `database` names, with its extension vector, where all servers share it.",
    )

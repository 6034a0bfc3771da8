"""Settings of where the content of files is kept."""

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["BlobSettings"]


class BlobSettings(BaseModel):
    """The content of files. Servers that share a database share it through a bucket."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(
        "",
        pattern=r"^((s3|gs|az)://[^\s/?#]+(/[^\s?#]*)?)?$",
        description="Bucket for the content of files: s3://BUCKET/PREFIX (docs/OPERATIONS.md). Empty means the folder "
        "blobs in the data directory.",
    )
    endpoint: str = Field(
        "",
        pattern=r"^(https?://[^\s]+)?$",
        description="URL of an S3 that is not Amazon's, such as http://127.0.0.1:9000.",
    )
    region: str = Field("", description="Of the bucket; empty means AWS_REGION, or us-east-1.")
    access_key_id: str = Field("", description="Empty means AWS_ACCESS_KEY_ID, or the role of the machine.")
    secret_access_key: str = Field("", description="Empty means AWS_SECRET_ACCESS_KEY.")
    cache_bytes: int = Field(
        20 * 2**30,
        ge=0,
        description="Most that copies of a bucket's files take in the data directory, for what reads them as files "
        "(training, indexing); those of the last hour stay whatever they take.",
    )

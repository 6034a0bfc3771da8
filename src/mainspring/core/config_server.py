"""Settings of the HTTP server."""

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ServerSettings"]


class ServerSettings(BaseModel):
    """The HTTP server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on. 0.0.0.0 opens the server to the network.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    max_body_bytes: int = Field(20 * 2**20, ge=1024, description="Largest request body that is read.")
    max_file_bytes: int = Field(512 * 2**20, ge=1024, description="Largest file that may be uploaded.")
    max_upload_bytes: int = Field(8 * 2**30, ge=1024, description="Largest file that may be uploaded in parts.")
    header_timeout_s: float = Field(10.0, gt=0, description="Seconds a client has to send the head of a request.")
    shutdown_s: float = Field(3.0, ge=0, description="Seconds that streams in flight have to end at a stop.")
    request_timeout_s: float = Field(600.0, gt=0, description="Deadline of a request from arrival to last token.")
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?$",
        description="Path that people's addresses of this server begin with, such as /ai behind a proxy, whether the "
        "proxy takes it off or not; empty is the root, or what the proxy says in X-Forwarded-Prefix.",
    )
    session_s: float = Field(
        2_592_000.0, ge=60, description="Seconds without use after which somebody who has signed in is signed out."
    )

"""Settings: `mainspring.toml` in the data directory, then `MAINSPRING_*` variables, then command-line flags.

Nested, typed, frozen; an unknown key is an error that names it. `MAINSPRING_SERVER__PORT=8123` sets `server.port`.
`settings_table()` feeds the generated table in docs/CONFIGURATION.md.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from mainspring.core.config_batches import BatchSettings
from mainspring.core.config_blobs import BlobSettings
from mainspring.core.config_evals import EvalSettings, StoredChatSettings
from mainspring.core.config_identity import Algorithm, ClaimSettings, IdentitySettings
from mainspring.core.config_responses import ResponseSettings
from mainspring.core.config_server import ServerSettings
from mainspring.core.config_tools import ToolSettings
from mainspring.core.config_vector_stores import VectorStoreSettings
from mainspring.core.config_webhooks import WebhookSettings
from mainspring.core.errors import UserMistake

__all__ = [
    "DEFAULT_MODEL",
    "Algorithm",
    "ClaimSettings",
    "EngineSettings",
    "FilterSettings",
    "IdentitySettings",
    "MeteringSettings",
    "Price",
    "ServerSettings",
    "ServingSettings",
    "Settings",
    "TracingSettings",
    "TrainingSettings",
    "VllmSettings",
    "WebhookSettings",
    "WeightsFormat",
    "create_home",
    "home_from",
    "load_settings",
]

DEFAULT_MODEL = "smollm2-135m-instruct"

WeightsFormat = Literal["auto", "shipped", "q8_0", "q4_0", "mixed", "iq4_nl", "f16"]
"""How weights are stored while they are served: `engine/formats.py` says what the names mean."""


class VllmSettings(BaseModel):
    """Replicas that run on vLLM: models in safetensors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="Numbers that vLLM computes with; auto: the model's own, and bfloat16 without a GPU."
    )
    memory_fraction: float = Field(
        0.9, gt=0, le=1, description="Share of a GPU's memory that vLLM takes for weights and KV cache."
    )
    kv_bytes: int = Field(
        0, ge=0, description="vLLM's KV cache; 0 means what memory_fraction leaves, and 2 GiB without a GPU."
    )
    tensor_parallel: int = Field(1, ge=1, description="GPUs that one replica on vLLM spans.")
    compile: bool = Field(True, description="Let vLLM compile the model; off loads faster and computes slower.")


class EngineSettings(BaseModel):
    """One replica's engine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    library: Path | None = Field(None, description="Another libllama of the same ABI, such as a native build.")
    threads: int = Field(0, ge=0, description="Compute threads; 0 means one for each physical core.")
    format: WeightsFormat = Field(
        "auto",
        description="Of the weights: what `mainspring models prepare` found fastest here, as shipped, or this one.",
    )
    context_tokens: int = Field(0, ge=0, description="Longest sequence; 0 means what the model was trained for.")
    kv: Literal["unified", "split"] = Field(
        "unified", description="One KV cache for all, or one of a full context for each of max_running sequences."
    )
    kv_tokens: int = Field(32768, ge=256, description="Tokens that a unified KV cache holds, all sequences together.")
    max_running: int = Field(16, ge=1, le=128, description="Requests computed at once.")
    max_waiting: int = Field(256, ge=0, description="Requests that may queue; one more is answered with 429.")
    prefill_tokens: int = Field(512, ge=16, description="Prompt tokens a step computes while nothing is being decoded.")
    mixed_tokens: int = Field(128, ge=16, description="The same while other sequences decode: bounds their token gap.")
    speculation: Literal["auto", "off"] = Field(
        "auto", description="Guess tokens ahead where measurement says that it pays, or never."
    )
    draft_model: Path | None = Field(
        None, description="A small GGUF model of the same vocabulary that guesses tokens ahead for the large one."
    )
    flash_attention: bool = Field(True, description="Faster prefill; off rounds less and decodes long contexts faster.")
    hot_tokens: int = Field(256, ge=0, description="Finished tokens kept in the KV cache before they move to memory.")
    embedding_precision: Literal["fp32", "int8"] = Field(
        "fp32", description="Of embedding models from safetensors: int8 is faster, its vectors are only about the same."
    )
    max_adapters: int = Field(16, ge=1, description="LoRA adapters that stay loaded; those in use always do.")
    cache_bytes: int = Field(2 * 2**30, ge=0, description="Memory for finished sequences outside of the KV cache.")
    vllm: VllmSettings = Field(VllmSettings(), description="Replicas on vLLM.")  # pyright: ignore[reportCallIssue]


class ServingSettings(BaseModel):
    """Which models are loaded, and how often."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    catalog: bool = Field(True, description="Serve every model of the catalog: those not named load when asked for.")
    memory_bytes: int = Field(
        0, ge=0, description="Memory for all loaded models together; 0 means 80 % of what is available at the start."
    )
    idle_s: float = Field(
        1800.0, ge=0, description="Seconds without a request after which a model is unloaded; 0 keeps it loaded."
    )
    max_replicas: int = Field(
        1, ge=1, le=64, description="Most replicas of one model. On the same cores a second one gains nothing."
    )
    replica_units: int = Field(
        0,
        ge=0,
        description="Units of deployed capacity that a replica carries: provisioned deployments keep as many replicas "
        "as theirs take, others may have as many as theirs take; 0 counts one and serving.max_replicas.",
    )
    queue_s: float = Field(
        2.0, gt=0, description="Requests that wait longer than this get their model another replica, up to the most."
    )


class Price(BaseModel):
    """What a million tokens cost, in the installation's currency."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(0.0, ge=0, le=1e6)
    cached: float | None = Field(None, ge=0, le=1e6)
    output: float = Field(0.0, ge=0, le=1e6)


class MeteringSettings(BaseModel):
    """What requests are accounted with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prices: dict[str, Price] = Field(
        {},
        description="Deployment -> what a million tokens cost: input, cached (as input unless given) and output; '*' "
        "is for all others. In any currency: costs are only added up.",
    )


class FilterSettings(BaseModel):
    """The content filters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: Literal["Microsoft.DefaultV2", "Microsoft.Default", "none"] = Field(
        "Microsoft.DefaultV2", description="The content policy of deployments that name none; 'none' filters nothing."
    )
    protected: Path | None = Field(
        None, description="Index of protected material, as `mainspring policies index` writes it."
    )
    personal: Literal["builtin", "presidio"] = Field(
        "builtin",
        description="What finds personal data: forms and check digits, or Presidio beside them, which knows names.",
    )
    presidio_model: str = Field(
        "", description="spaCy's model for Presidio; empty takes the largest of the usual ones that is installed."
    )
    presidio_language: str = Field(
        "en", pattern="^[a-z]{2,3}$", description="Language that Presidio reads every text in."
    )
    presidio_threshold: float = Field(
        0.4,
        ge=0,
        le=1,
        description="Least score of what Presidio finds: names have 0.85, most numbers 0.4 with context.",
    )
    presidio_also: tuple[Literal["LOCATION", "ORGANIZATION", "DATE_TIME"], ...] = Field(
        (), description="What Presidio is asked for besides: most of it is nobody's, such as the names of countries."
    )


class SandboxSettings(BaseModel):
    """Code that nobody trusts: python graders."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weak: bool = Field(
        False,
        description="Run it even on a machine that cannot isolate it (docs/SAFETY.md). Only where all who may send "
        "code may also do what the server's user may.",
    )
    time_s: float = Field(120.0, gt=0, description="Seconds that a run may take.")
    memory_bytes: int = Field(2 * 2**30, ge=2**24, description="Memory of a run.")
    disk_bytes: int = Field(256 * 2**20, ge=2**16, description="Files that a run may write, which are in memory.")
    concurrency: int = Field(0, ge=0, description="Runs at a time; 0 means one for each processor.")


class TrainingSettings(BaseModel):
    """Fine-tuning jobs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrent: int = Field(
        1, ge=0, le=1024, description="Fine-tuning jobs that train at once, on all servers together; 0 starts none."
    )
    concurrent_per_project: int = Field(
        0, ge=0, description="Of these, the most of one project; 0 sets no limit of its own."
    )
    jobs_per_project: int = Field(
        100, ge=0, description="Jobs of a project that may wait or run at the same time; 0 sets no limit."
    )
    jobs_per_day: int = Field(0, ge=0, description="Jobs that a project may create in 24 hours; 0 sets no limit.")
    lease_s: float = Field(
        30.0, ge=3, le=600, description="Seconds without a sign of life after which another server takes over a job."
    )
    checkpoint_s: float = Field(
        30.0, ge=0, description="Seconds between two checkpoints: what a killed process has to compute again."
    )
    stop_s: float = Field(20.0, ge=0, description="Seconds that jobs have to write a checkpoint when the server stops.")


class TracingSettings(BaseModel):
    """OpenTelemetry traces."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str = Field(
        "",
        pattern=r"^(https?://[^\s]+)?$",
        description="Where a collector takes OTLP over HTTP, such as http://127.0.0.1:4318; empty makes no traces.",
    )
    headers: dict[str, str] = Field({}, description="What to send along, such as an authorization.")
    sample: float = Field(1.0, ge=0, le=1, description="Share of requests that are traced, unless a client decides.")
    content: bool = Field(False, description="Put what is asked and answered into traces, where many can read it.")


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(
        env_prefix="MAINSPRING_", env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    home: Path = Field(Path("~/.mainspring"), description="The data directory.")
    models: tuple[str, ...] = Field(
        (DEFAULT_MODEL,), description="Catalog names or sources of the models to load at the start."
    )
    database: str = Field(
        "",
        description="URL of a PostgreSQL database, postgresql://user:password@host/name; empty means SQLite in the "
        "data directory.",
    )
    secret: str = Field(
        "",
        description="What the keys of projects are derived from: the same for all servers of an installation. Empty "
        "means random bytes in the data directory.",
    )
    quota_units: int = Field(
        10_000,
        ge=0,
        description="Units of capacity of one model and SKU that all projects together may deploy, unless "
        "`mainspring quota set` says otherwise.",
    )
    region: str = Field("local", description="What the Azure dialect calls its region.")
    log_level: str = Field("info", description="debug, info, warning or error.")
    blobs: BlobSettings = Field(BlobSettings(), description="The content of files.")  # pyright: ignore[reportCallIssue]
    server: ServerSettings = Field(ServerSettings(), description="The HTTP server.")  # pyright: ignore[reportCallIssue]
    serving: ServingSettings = Field(ServingSettings(), description="Which models are loaded.")  # pyright: ignore[reportCallIssue]
    metering: MeteringSettings = Field(MeteringSettings(), description="What requests are accounted with.")  # pyright: ignore[reportCallIssue]
    identity: IdentitySettings = Field(IdentitySettings(), description="Tokens, beside keys.")  # pyright: ignore[reportCallIssue]
    filters: FilterSettings = Field(FilterSettings(), description="The content filters.")  # pyright: ignore[reportCallIssue]
    training: TrainingSettings = Field(TrainingSettings(), description="Fine-tuning jobs.")  # pyright: ignore[reportCallIssue]
    webhooks: WebhookSettings = Field(WebhookSettings(), description="Webhooks.")  # pyright: ignore[reportCallIssue]
    batches: BatchSettings = Field(BatchSettings(), description="Batches of requests.")  # pyright: ignore[reportCallIssue]
    sandbox: SandboxSettings = Field(SandboxSettings(), description="The sandbox.")  # pyright: ignore[reportCallIssue]
    evals: EvalSettings = Field(EvalSettings(), description="Evaluations.")  # pyright: ignore[reportCallIssue]
    stored_chats: StoredChatSettings = Field(StoredChatSettings(), description="Stored chats.")  # pyright: ignore[reportCallIssue]
    vector_stores: VectorStoreSettings = Field(VectorStoreSettings(), description="Vector stores.")  # pyright: ignore[reportCallIssue]
    tools: ToolSettings = Field(ToolSettings(), description="Tools of responses.")  # pyright: ignore[reportCallIssue]
    responses: ResponseSettings = Field(ResponseSettings(), description="Responses that are kept.")  # pyright: ignore[reportCallIssue]
    tracing: TracingSettings = Field(TracingSettings(), description="OpenTelemetry traces.")  # pyright: ignore[reportCallIssue]
    engine: EngineSettings = Field(EngineSettings(), description="The engine.")  # pyright: ignore[reportCallIssue]


def home_from(flag: Path | None) -> Path:
    """The data directory: the flag, `MAINSPRING_HOME`, or `~/.mainspring`."""
    return Path(flag or os.environ.get("MAINSPRING_HOME") or "~/.mainspring").expanduser().resolve()


def create_home(home: Path) -> Path:
    """Make the data directory, for its owner only, unless it is there; its mode is not changed if it is.

    Raises:
        UserMistake: it cannot be made.
    """
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UserMistake(
            f"The data directory {home} cannot be made ({error.strerror}): choose another --home."
        ) from error
    return home


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(cast("Mapping[str, Any]", old), cast("Mapping[str, Any]", value))
        else:
            merged[key] = value
    return merged


def load_settings(home: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Read the file, the environment and the flags (nested as the settings are), later ones winning.

    Raises:
        UserMistake: an unknown key or a value out of range, named with its place.
    """
    folder = home_from(home)
    path = folder / "mainspring.toml"
    try:
        from_file = tomllib.loads(path.read_text()) if path.exists() else {}
    except tomllib.TOMLDecodeError as error:
        raise UserMistake(f"{path} is not valid TOML: {error}.") from error
    try:
        from_environment = Settings().model_dump(exclude_unset=True)  # pyright: ignore[reportCallIssue]
        return Settings(**_merge(_merge(from_file, from_environment), {**(flags or {}), "home": folder}))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        fix = "there is no such setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise UserMistake(f"Setting {place!r}: {fix}. docs/CONFIGURATION.md lists the settings.") from error


def settings_table(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Rows (key, type, default, meaning) of every setting, for the documentation."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings_table(kind, f"{prefix}{name}.")
        else:
            shown = kind.__name__ if isinstance(kind, type) else str(kind).replace("pathlib.", "")
            yield f"{prefix}{name}", shown, str(field.default), field.description or ""

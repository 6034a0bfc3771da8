"""What the parts say to one another: requests, events, model descriptions. No wire format of any API lives here.

All are frozen msgspec structs, so the same objects cross process borders as msgpack (`array_like` where many are sent).
"""

from typing import Any, Literal

import msgspec

from mainspring.core.receipt import Computed, Prompted

__all__ = [
    "Adapter",
    "ChatPrompt",
    "Constraint",
    "EmbedRequest",
    "Embeddings",
    "Event",
    "Explained",
    "FileRef",
    "FinishReason",
    "Finished",
    "GenerateRequest",
    "Grant",
    "InfillPrompt",
    "Limits",
    "Lineage",
    "Load",
    "Message",
    "ModelInfo",
    "ModelVersion",
    "Principal",
    "Prompt",
    "Ran",
    "Rate",
    "Role",
    "Room",
    "Said",
    "Sampling",
    "Screened",
    "Spilled",
    "TextPrompt",
    "Tier",
    "Token",
    "TokenLogprob",
    "TokenPrompt",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolUse",
    "Usage",
]


class ToolCall(msgspec.Struct, frozen=True, array_like=True):
    """A call that the model made: `arguments` is JSON text of a function, free text of a custom tool."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn of a conversation. `content` is plain text: the edge has joined text parts already."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str = ""
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()


class Tool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that the model may call.

    Args:
        parameters: the JSON schema of a function's arguments, as text; of a custom tool, nothing.
        strict: the arguments must match `parameters` even if the model was free to call or not.
        custom: what a custom tool's input must match: `Constraint` of kind regex or lark, or None for any text. None
            for a function too; `is_custom` tells the two apart.
    """

    name: str
    description: str = ""
    parameters: str = "{}"
    strict: bool = False
    is_custom: bool = False
    custom: "Constraint | None" = None


class ToolUse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tools of a request and how they may be used.

    Args:
        choice: auto lets the model decide, none forbids calls, required demands at least one.
        allowed: names of the tools that may be called; empty means all. A named tool is required with one name.
        parallel: whether one answer may hold several calls.
    """

    tools: tuple[Tool, ...]
    choice: Literal["auto", "none", "required"] = "auto"
    allowed: tuple[str, ...] = ()
    parallel: bool = True


class ChatPrompt(msgspec.Struct, frozen=True, tag="chat", omit_defaults=True):
    """Messages; the engine renders them with the model's own chat template. `thinking` False asks a reasoning model to
    answer at once; None leaves it to the model.

    With `continues` the last message is an assistant's that was broken off: the answer goes on where it ends, is not
    thought about again, and holds none of it. Not together with a constraint, which would be of the rest alone.
    """

    messages: tuple[Message, ...]
    tools: ToolUse | None = None
    thinking: bool | None = None
    continues: bool = False


class TextPrompt(msgspec.Struct, frozen=True, tag="text"):
    """Text to be continued as it stands. Names of control tokens in it become those tokens, since whoever writes a raw
    prompt writes all of it: fill-in-the-middle markers and hand-made chat formats work."""

    text: str


class TokenPrompt(msgspec.Struct, frozen=True, tag="tokens"):
    """Token ids of the model's own vocabulary."""

    ids: tuple[int, ...]


class InfillPrompt(msgspec.Struct, frozen=True, tag="infill", omit_defaults=True):
    """Text to be filled in between `prefix` and `suffix`.

    Args:
        extra: context from other files, as (name, text), the most important last.
        fit: what does not fit into the model's context is left out, the farthest from the gap first; otherwise it is an
            error.
        dedent: stop before a line that is further to the left than the block of code that the prefix ends in.
        max_s: stop at a line's end after so many seconds; None never does.
    """

    prefix: str
    suffix: str
    extra: tuple[tuple[str, str], ...] = ()
    fit: bool = False
    dedent: bool = False
    max_s: float | None = None


Prompt = ChatPrompt | TextPrompt | TokenPrompt | InfillPrompt


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the next token is chosen. Defaults are OpenAI's.

    Args:
        temperature: 0 is greedy; at most 2.
        top_p: nucleus mass, in (0, 1].
        seed: None draws one.
        frequency_penalty, presence_penalty: subtracted from the logits of tokens generated so far (OpenAI's formula).
        logit_bias: token id -> value added to its logit.
        logprobs: None for none, otherwise how many alternatives a token carries besides itself (0 to 20).
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: dict[int, float] = {}
    logprobs: int | None = None


class Constraint(msgspec.Struct, frozen=True):
    """What the generated text must match: any JSON object, or what `schema` says: a JSON schema's text, a regular
    expression, or a Lark grammar in llguidance's dialect."""

    kind: Literal["json_object", "json_schema", "regex", "lark"]
    schema: str = ""


Tier = Literal["priority", "default", "flex", "batch"]
"""Who goes first. A flex request gives way to the others and is resumed later, never lost; so does a batch's, to flex
too. A batch's request is made again and again until it has its answer, under the same id."""


class Adapter(msgspec.Struct, frozen=True, array_like=True):
    """A LoRA adapter: its `ModelVersion.id`, which stands for its content, and where its GGUF file lies."""

    id: str
    path: str


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt, `n` continuations.

    Args:
        id: unique among requests in flight; also what cancels it.
        model: the deployment's name.
        tenant: whose fair share this uses (a key's id).
        project: the project that the deployment belongs to.
        streams: somebody reads the answer as it comes; otherwise it may be looked at in larger pieces.
        spillover: the deployment that takes it if `model` cannot; None leaves that to the deployment's own.
        max_tokens: most tokens to generate for each choice; None means as many as the context holds.
        stop: up to four strings that end a choice and are not part of it.
        echo: emit the prompt's tokens first (with logprobs if asked), as choice text.
        deadline_s: seconds from now after which the request fails with DeadlineExceeded.
        tier: its priority.
        prediction: text that the answer is expected to repeat in large parts; None if there is none.
        adapter: what to compute it with; None for the model itself. The replica loads it if it has not.
        cites: numbers of passages: the only ones that markers in the answer may have (`models/cited.py`); none at all
            leaves markers free. Does nothing beside a constraint.
        explains: tell what the model was shown and how the answer was computed (`core.receipt`), of the first choice.
        beside: texts that were left out of the prompt, whose tokens are to be counted for that.
        follows: tokens that the answer is to have whatever is drawn, each as four bytes, little-endian: `Computed` says
            where something else was drawn. With `explains`, and one choice.
    """

    id: str
    model: str
    prompt: Prompt
    tenant: str = ""
    project: str = "default"
    streams: bool = True
    spillover: str | None = None
    n: int = 1
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    constraint: Constraint | None = None
    echo: bool = False
    deadline_s: float | None = None
    tier: Tier = "default"
    prediction: str | None = None
    adapter: Adapter | None = None
    cites: tuple[int, ...] = ()
    explains: bool = False
    beside: tuple[str, ...] = ()
    follows: bytes | None = None


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """A token, its bytes (not always whole characters), its log probability (natural log; None where the model
    gives none, which is the first token of an echoed prompt), and the likeliest alternatives, best first."""

    id: int
    piece: bytes
    logprob: float | None
    top: tuple[tuple[int, bytes, float], ...] = ()


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """Tokens of one choice. `cached` prompt tokens were not computed again; `reasoning` tokens of the completion were
    thought and not said; of the request's prediction, `accepted` tokens were in the answer and `rejected` ones not."""

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0
    accepted: int = 0
    rejected: int = 0


FinishReason = Literal["stop", "length", "content_filter", "tool_calls"]


class Token(msgspec.Struct, frozen=True, array_like=True, tag="t"):
    """Text of a choice that can be shown now (may be empty) and the tokens it came from. `num` counts those tokens;
    `logprobs` describes them if they were asked for, and is empty otherwise. `echo` marks text of the prompt,
    `thought` text that a reasoning model thinks before it answers."""

    choice: int
    text: str
    num: int = 1
    logprobs: tuple[TokenLogprob, ...] = ()
    echo: bool = False
    thought: bool = False


class ToolCallDelta(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """More of a tool call. The first delta of call number `index` of a choice has its `id` and `name`, later ones only
    more of `arguments`."""

    choice: int
    index: int
    arguments: str
    id: str = ""
    name: str = ""
    is_custom: bool = False


class Finished(msgspec.Struct, frozen=True, array_like=True, tag="f"):
    """The last event of a choice. Every choice gets exactly one, unless the whole request fails with an exception."""

    choice: int
    reason: FinishReason
    usage: Usage


class Screened(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """What the content filters found, as Azure writes it: in the prompt (choice -1) or in a choice so far.

    Args:
        offsets: of a choice whose text has gone out already: up to where it has been looked at, and the start and end
            of what was found, in characters.
        reasons: why, as a JSON list of `governance.filters.Hit`: for the ledger, not for the client.
        blocked: nothing more of the choice is said.
    """

    choice: int
    results: dict[str, Any]
    offsets: tuple[int, int, int] | None = None
    reasons: str = ""
    blocked: bool = False


class Spilled(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """The first event of a request that another deployment took, because of an error with that HTTP status."""

    source: str
    to: str
    status: int


Said = Token | ToolCallDelta | Finished
"""What a model says."""

Explained = Prompted | Computed
"""What is told about that, if a request `explains`."""

Event = Said | Explained | Screened | Spilled
"""And what governance has to say about it."""


class EmbedRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Texts or token arrays to be turned into vectors.

    Args:
        dimensions: how many components of each vector to keep; None means all.
        tier: its priority.
    """

    id: str
    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    tenant: str = ""
    project: str = "default"
    dimensions: int | None = None
    deadline_s: float | None = None
    tier: Tier = "default"


class Embeddings(msgspec.Struct, frozen=True, array_like=True):
    """One vector for each input, in their order: `vectors` is float32, little-endian, (inputs, dimensions)."""

    vectors: bytes
    dimensions: int
    num_tokens: int


class FileRef(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a model version: its path below the version's folder, size in bytes, and SHA-256 in hex."""

    path: str
    bytes: int
    sha256: str


class Lineage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where trained weights come from: enough to train them again.

    Args:
        base: what was trained, as name@version. It may itself be an adapter, and has a lineage of its own then.
        method: such as supervised or dpo.
        training, validation: SHA-256 of the files of examples, in hex.
        step: after which the weights are what they are.
        settings: whatever else the job was asked for, as its plan has it.
        scores: what was measured at that step (train_loss, ...).
    """

    base: str
    method: str
    training: str
    validation: str | None = None
    seed: int = 0
    step: int = 0
    settings: dict[str, Any] = {}
    scores: dict[str, float] = {}


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An immutable set of weights in the catalog: what training makes and serving runs.

    `version` is the first 12 hex digits of the SHA-256 over the files' own hashes, so equal content is one version.

    Args:
        kind: what it is for; a "reward" model says how good an answer is, to training, and is never served.
        base: the model that it was made from, as name@version; of an adapter, the whole model that it is applied to.
        is_adapter: the files hold a LoRA adapter of `base` and no weights of their own.
        made_by: the id of the job that trained it.
        project: whose it is, if it is not everybody's.
    """

    name: str
    version: str
    kind: Literal["chat", "completion", "embedding", "image", "reward"]
    format: Literal["gguf", "onnx", "safetensors"]
    files: tuple[FileRef, ...]
    source: str
    created: int
    context_length: int | None = None
    num_params: int | None = None
    licence: str | None = None
    chat_template: str | None = None
    base: str | None = None
    is_adapter: bool = False
    made_by: str | None = None
    project: str | None = None
    lineage: Lineage | None = None

    @property
    def id(self) -> str:
        """The name with the version: these files and no others."""
        return f"{self.name}@{self.version}"


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment as clients see it. `created` is in Unix seconds; `state` is idle (not loaded: the first request
    loads it), starting, ready, restarting or paused; `base` is the deployment that an adapter belongs to; `model` is
    the catalog's name of what is deployed, if the deployment has another; one that is for batches takes no requests;
    `project` is whose the model is, if it is not everybody's."""

    id: str
    version: str
    created: int
    context_length: int
    state: str
    num_params: int | None = None
    base: str | None = None
    owner: str = "mainspring"
    kind: Literal["chat", "completion", "embedding", "image"] = "chat"
    model: str = ""
    is_for_batches: bool = False
    project: str | None = None


Role = Literal["admin", "user", "contributor", "manager", "reader"]
"""What somebody is allowed: `governance/roles.py` says what each is."""


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """A role in one project, or in all of them ("*")."""

    role: Role
    project: str = "*"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking.

    Args:
        id: of the key, or of the subject of a token; also the tenant whose fair share is used. At most 64 characters.
        project: where a request goes that names no project.
        grants: which role in which project; none is somebody who is known and may do nothing.
        owner: of the key: the person or program that it was made for; empty if nobody said.
    """

    id: str
    name: str
    project: str = "default"
    grants: tuple[Grant, ...] = (Grant("user", "default"),)
    owner: str = ""

    @property
    def person(self) -> str:
        """Who stays when keys change: the owner, or else whoever has this key."""
        return f"owner:{self.owner}" if self.owner else self.id

    def roles_in(self, project: str) -> tuple[Role, ...]:
        """The roles that count in a project. In "*": those that were granted for all projects."""
        return tuple(grant.role for grant in self.grants if grant.project in ("*", project))


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much may be used; None is no limit. Costs are in millionths of the installation's currency.

    Args:
        provisioned_tokens_per_minute: what a provisioned deployment is made for; nothing else has it.
    """

    tokens_per_minute: int | None = None
    requests_per_minute: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    cost_per_day: int | None = None
    cost_per_month: int | None = None
    provisioned_tokens_per_minute: int | None = None


class Room(msgspec.Struct, frozen=True, array_like=True):
    """Of a limit, what is left, and the seconds until it is whole again."""

    limit: int
    remaining: int
    reset_s: float


class Rate(msgspec.Struct, frozen=True, array_like=True):
    """What is left of the current minute; None where there is no limit."""

    requests: Room | None = None
    tokens: Room | None = None


class Load(msgspec.Struct, frozen=True, array_like=True):
    """How busy a replica is: requests running and waiting, tokens in its KV cache of so many; since it started: the
    seconds spent in engine steps, the tokens guessed ahead, and those of them that stood; and the seconds that the
    request that has waited longest to be computed has waited. (A flex request is made to wait, and does not count.)"""

    running: int = 0
    waiting: int = 0
    kv_used: int = 0
    kv_total: int = 0
    busy_s: float = 0.0
    guessed: int = 0
    stood: int = 0
    queue_s: float = 0.0


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run in a sandbox. All of it was written by code that nobody trusts.

    Args:
        exit_code: the program's, or a signal's number below zero.
        ended: why it was ended before its own end, by which limit; empty if it was not.
        files: what it left in its folder, by path.
        cpu_s, memory_bytes: what it used; memory at its peak.
    """

    stdout: bytes
    stderr: bytes
    exit_code: int
    ended: Literal["", "timeout", "cpu", "output", "disk", "killed", "cancelled"] = ""
    files: dict[str, bytes] = {}
    wall_s: float = 0.0
    cpu_s: float = 0.0
    memory_bytes: int = 0

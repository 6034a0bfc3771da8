"""What the edge is given: the parts below it, as seams. `wiring` fills it in; tests put the fake in."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from mainspring.api.inside import Inside
from mainspring.api.pages import PAGES
from mainspring.api.tracing import Tracing
from mainspring.batches.batches import Batches
from mainspring.core.clock import Clock
from mainspring.core.errors import EngineUnavailable
from mainspring.core.seams import Align, Count, Deployments, Embed, Generate, Models, RunCode, Search, uncounted
from mainspring.core.types import Embeddings, EmbedRequest, Principal, Rate
from mainspring.evals.evals import Evals
from mainspring.governance.control import Control
from mainspring.governance.sessions import Sessions
from mainspring.governance.sign_in import SignIn
from mainspring.governance.usage import Sums
from mainspring.responses.changes import ChatChanges
from mainspring.responses.chats import Chats
from mainspring.responses.conversations import Conversations
from mainspring.responses.personal import PersonalInstructions
from mainspring.responses.presets import Presets
from mainspring.responses.receipts import Receipts
from mainspring.responses.service import Responses
from mainspring.responses.transfer import Transfer
from mainspring.retrieval.attaching import Attaching
from mainspring.retrieval.stores import Stores
from mainspring.store.containers import Containers
from mainspring.store.files import MAX_BYTES, Files
from mainspring.store.stored_chats import StoredChats
from mainspring.store.uploads import Uploads
from mainspring.train.jobs import FineTuning
from mainspring.train.sharing import Sharing
from mainspring.webhooks.hooks import Webhooks

__all__ = ["Services", "Stateful", "Training", "VectorStores", "no_embeddings"]


async def no_embeddings(_: EmbedRequest) -> Embeddings:
    """An `Embed` for a server that has none."""
    raise EngineUnavailable("This server makes no embeddings.")


async def _nothing_used(*_: object, **__: object) -> list[Sums]:
    return []


def _no_limits(*_: str) -> Rate:
    return Rate()


@dataclass(frozen=True, kw_only=True)
class Training:
    """Fine-tuning jobs, and with whom what came out of them is shared."""

    jobs: FineTuning
    sharing: Sharing


@dataclass(frozen=True, kw_only=True)
class VectorStores:
    """Vector stores, the files in them, and what finds something there."""

    stores: Stores
    attaching: Attaching
    search: Search
    align: Align


@dataclass(frozen=True, kw_only=True)
class Stateful:
    """Answers that are kept, and what they are made of."""

    responses: Responses
    conversations: Conversations
    chats: Chats
    transfer: Transfer
    presets: Presets
    personal: PersonalInstructions
    receipts: Receipts

    @property
    def changes(self) -> ChatChanges:
        """Who waits for changes of chats."""
        return self.chats.changes


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything the HTTP edge needs.

    Args:
        models: what is deployed, and can be called by name.
        replicas: the models behind it, whose load is measured.
        authenticate: key -> who it belongs to; raises `Unauthorized`.
        rate: (key, project, deployment) -> what is left of the current minute.
        provisioned: (project, deployment, how full its bucket is) of each provisioned deployment; 1 is full.
        tracing: makes traces; None makes none.
        count: notes what is counted beside requests to models.
        sums: what was used: `governance.usage.Reports.sums`.
        run_code: runs Python that nobody trusts, for graders; None runs none.
        control: what the control plane works with; None has none.
        sessions: of people with browsers; None takes keys only.
        sign_in: of people at an identity provider, who then have a session; None offers none.
        pages: the folder with the pages, as `scripts/pages` has built them.
        root_path: what people's addresses begin with, after the host, before the paths that are here; empty is nothing.
        files: what is uploaded; None takes nothing.
        uploads: files in parts.
        training: fine-tuning; None trains nothing.
        webhooks: who is told what happens; None tells nobody.
        stored_chats: answers that were to be stored; None stores none.
        evals: evaluations; None makes none.
        batches: files of requests; None takes none.
        inside: the way in for what this process asks by itself; the application is bound to it once it is made.
        vector_stores: None keeps none.
        containers: of the code interpreter; None keeps none.
        responses: answers that are kept, and conversations; None keeps none.
        ready: whether requests can be served now; what /readyz says.
        max_body_bytes: largest request body that is read.
        max_file_bytes: largest file that is taken.
        request_timeout_s: seconds from a request's arrival to its last token.
        lifespan: entered before the first request and left after the last.
        cors_origins: origins whose pages may call the API from a browser; "*" means any.
    """

    generate: Generate
    models: Deployments
    replicas: Models
    authenticate: Callable[[str], Awaitable[Principal]]
    ready: Callable[[], bool]
    clock: Clock
    region: str = "local"
    max_body_bytes: int = 20 * 2**20
    max_file_bytes: int = MAX_BYTES
    request_timeout_s: float = 600.0
    embed: Embed = no_embeddings
    run_code: RunCode | None = None
    control: Control | None = None
    sessions: Sessions | None = None
    sign_in: SignIn | None = None
    pages: Path = PAGES
    root_path: str = ""
    files: Files | None = None
    uploads: Uploads | None = None
    training: Training | None = None
    webhooks: Webhooks | None = None
    stored_chats: StoredChats | None = None
    evals: Evals | None = None
    batches: Batches | None = None
    inside: Inside | None = None
    vector_stores: VectorStores | None = None
    containers: Containers | None = None
    responses: Stateful | None = None
    rate: Callable[[str, str, str], Rate] = _no_limits
    provisioned: Callable[[], Iterable[tuple[str, str, float]]] = tuple
    tracing: Tracing | None = None
    count: Count = uncounted
    sums: Callable[..., Awaitable[list[Sums]]] = _nothing_used
    lifespan: Callable[[], AbstractAsyncContextManager[None]] | None = None
    cors_origins: tuple[str, ...] = ()

    def is_archived(self, project: str) -> bool:
        """Whether a project can only be read."""
        if self.control is None:
            return False
        found = self.control.directory.snapshot.projects.get(project)
        return found is not None and found.archived is not None

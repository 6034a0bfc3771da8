"""Mainspring's own routes for administrators, under /v1/x: why a request was filtered, and who changed what."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.context import context_of
from mainspring.api.openai import replies
from mainspring.api.openapi import Operation
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.governance.control import Control
from mainspring.governance.roles import allows
from mainspring.governance.usage import Record

__all__ = ["explain_operations"]

MAX_ENTRIES = 1000


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger knows of a request: one record for each answer and each deployment that tried."""

    object: str = "request.explanation"
    data: list[Record]


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change: `detail` is what about `subject` became of it, `actor` whose doing it was."""

    seq: int
    time: float
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    hash: str


class AuditList(msgspec.Struct, frozen=True, kw_only=True):
    """The newest changes, oldest first."""

    object: str = "list"
    data: list[AuditEntry]


def explain_operations(control: Control) -> list[Operation]:
    """Both operations, for the table of the application."""

    async def explain(http: Request) -> Response:
        wanted, principal = http.path_params["request_id"], context_of(http).principal
        assert principal is not None, "this needs a permission"
        found = await control.reports.records(wanted) if 8 <= len(wanted) <= 64 else []
        seen = [each for each in found if allows(principal.roles_in(each.project), "filters.explain")]
        if not seen:
            raise NotFound(
                "The ledger has no such request. It is told by the id of its answer or by its x-request-id, and is "
                "there a second after it has ended."
            )
        return replies.json(Explanation(data=seen))

    async def audit(http: Request) -> Response:
        given = http.query_params.get("newest", "50")
        if not given.isascii() or not given.isdecimal() or not 1 <= int(given[:6]) <= MAX_ENTRIES:
            raise InvalidRequest(f"'newest' is 1 to {MAX_ENTRIES}.", param="newest")
        entries = await control.audit.list(newest=int(given))
        shown = [msgspec.structs.asdict(each) | {"detail": msgspec.json.decode(each.detail)} for each in entries]
        return replies.json(AuditList(data=[AuditEntry(**each) for each in shown]))

    return [
        Operation(
            method="GET", path="/v1/x/requests/{request_id}", handler=explain, name="x_requests_explain",
            summary="Say what the content filters found in a request, and why", needs="filters.explain",
            reply=Explanation, dialect="openai", anywhere=True,
        ),
        Operation(
            method="GET", path="/v1/x/audit", handler=audit, name="x_audit_list", summary="List the newest changes",
            needs="audit.read", reply=AuditList, dialect="openai", query=("newest",), extra_status=(400,),
        ),
    ]  # fmt: skip

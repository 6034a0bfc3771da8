"""organization/usage and organization/costs: what was used, by time, key and model, as OpenAI's admin API writes it."""

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.context import Context, context_of
from mainspring.api.openai import replies
from mainspring.api.openai.pages import flag_of
from mainspring.api.services import Services
from mainspring.core.errors import Forbidden, InvalidRequest
from mainspring.governance.roles import allows
from mainspring.governance.usage import OPERATIONS, Column, Operation, Totals

__all__ = ["LAST_S", "CostsPage", "UsagePage", "UsageRoutes"]

WIDTHS: dict[str, tuple[int, int, int]] = {"1m": (60, 60, 1440), "1h": (3600, 24, 168), "1d": (86_400, 7, 31)}
"""Width of a bucket -> its seconds, how many are answered unless asked for, and at most."""
COLUMNS: dict[str, Column] = {
    "project_id": "project",
    "user_id": "key",
    "api_key_id": "key",
    "model": "deployment",
    "batch": "tier",
    "service_tier": "tier",
}
"""What may be grouped by -> the ledger's column that it is told from."""
UNGROUPED = ("line_item", "vector_store_id", "context_level")
"""What may be named too, and is null: it is not told apart."""
USER = "oidc:"
"""How the ids of those begin who come with a token and not with a key."""
NOBODY = "-"
"""Nobody's id."""
EVERYWHERE = "*"
LAST_S = 4_102_444_800
"""The year 2100; a later time is a mistake, milliseconds mostly."""


class UsageResult(msgspec.Struct, frozen=True, kw_only=True):
    """One group's sums within a bucket; what was not grouped by is null. `object` decides which sums there are."""

    object: str
    input_tokens: int | msgspec.UnsetType = msgspec.UNSET
    num_model_requests: int | msgspec.UnsetType = msgspec.UNSET
    num_requests: int | msgspec.UnsetType = msgspec.UNSET
    num_sessions: int | msgspec.UnsetType = msgspec.UNSET
    output_tokens: int | msgspec.UnsetType = msgspec.UNSET
    input_uncached_tokens: int | msgspec.UnsetType = msgspec.UNSET
    input_cached_tokens: int | msgspec.UnsetType = msgspec.UNSET
    project_id: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None
    batch: bool | None = None
    service_tier: str | None = None


class Money(msgspec.Struct, frozen=True):
    """An amount, in the currency that the prices were given in."""

    value: float
    currency: str = "usd"


class CostsResult(msgspec.Struct, frozen=True, kw_only=True):
    """One group's cost within a bucket."""

    object: str = "organization.costs.result"
    amount: Money
    line_item: str | None = None
    project_id: str | None = None
    api_key_id: str | None = None


class UsageBucket(msgspec.Struct, frozen=True, kw_only=True):
    """What was used from `start_time` to before `end_time` (Unix seconds)."""

    object: str = "bucket"
    start_time: int
    end_time: int
    results: list[UsageResult]


class CostsBucket(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent from `start_time` to before `end_time` (Unix seconds)."""

    object: str = "bucket"
    start_time: int
    end_time: int
    results: list[CostsResult]


class UsagePage(msgspec.Struct, frozen=True, kw_only=True):
    """Buckets by time, empty ones too; `next_page` is to be sent as `page` for more."""

    object: str = "page"
    data: list[UsageBucket]
    has_more: bool
    next_page: str | None


class CostsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Buckets by time, empty ones too; `next_page` is to be sent as `page` for more."""

    object: str = "page"
    data: list[CostsBucket]
    has_more: bool
    next_page: str | None


class _Query:
    """The parameters of a request."""

    def __init__(self, http: Request, now_s: int) -> None:
        self._given = http.query_params
        width = self._given.get("bucket_width", "1d")
        if width not in WIDTHS:
            raise InvalidRequest("'bucket_width' is 1m, 1h or 1d.", param="bucket_width")
        self.width_s, usual, most = WIDTHS[width]
        limit = self._whole("limit", usual)
        if not 1 <= limit <= most:
            raise InvalidRequest(f"'limit' is 1 to {most} for buckets of {width}.", param="limit")
        if "start_time" not in self._given:
            raise InvalidRequest("'start_time' is missing: Unix seconds.", param="start_time")
        start, end = self._whole("start_time", 0), self._whole("end_time", now_s + 1)
        if page := self._given.get("page"):
            start = self._page(page)
        self.start = start // self.width_s * self.width_s
        self.end = min(end, self.start + limit * self.width_s)
        self.next_page = f"page_{self.end}" if self.end < end else None
        self.keys, self.models = self._keys(), self.several("models")
        self.batch = flag_of(http, "batch")
        self.projects = self._projects(context_of(http))

    def _projects(self, context: Context) -> list[str]:
        """The projects to report on; none means all, which is for those whose role is not that of one project."""
        named, principal = self.several("project_ids"), context.principal
        if principal is not None and allows(principal.roles_in(EVERYWHERE), "usage.read"):
            return named
        if any(name != context.project for name in named):
            raise Forbidden(f"Your role lets you see the usage of the project {context.project!r} only.")
        return [context.project]

    def _keys(self) -> list[str]:
        """The ids of keys and users to report on; none means all."""
        keys, users = self.several("api_key_ids"), self.several("user_ids")
        if not users:
            return keys
        return [each for each in users if each.startswith(USER) and (not keys or each in keys)] or [NOBODY]

    def several(self, name: str) -> list[str]:
        """Values of a parameter that may be sent several times, with brackets or without."""
        return [*self._given.getlist(name), *self._given.getlist(f"{name}[]")]

    def groups(self) -> list[str]:
        """What to group by."""
        names = self.several("group_by")
        for name in names:
            if name not in COLUMNS and name not in UNGROUPED:
                known = ", ".join((*COLUMNS, *UNGROUPED))
                raise InvalidRequest(f"'group_by' knows {known}.", param="group_by")
        return list(dict.fromkeys(name for name in names if name in COLUMNS))

    def _whole(self, name: str, default: int) -> int:
        text = self._given.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdecimal() or int(text[:20]) > LAST_S:
            raise InvalidRequest(f"{name!r} is not a whole number of a size that is possible.", param=name)
        return int(text)

    def _page(self, page: str) -> int:
        number = page.removeprefix("page_")
        if not number.isascii() or not number.isdecimal() or int(number[:20]) > LAST_S:
            raise InvalidRequest("'page' is not one that was given out as 'next_page'.", param="page")
        return int(number)


Named = dict[str, Any]
"""What was grouped by -> its value."""


class UsageRoutes:
    """The handlers of usage and costs."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def completions(self, http: Request) -> Response:
        """Tokens of generated text."""
        return await self._usage(http, "completions", ("chat", "completion", "infill"))

    async def embeddings(self, http: Request) -> Response:
        """Tokens of embedded text."""
        return await self._usage(http, "embeddings", ("embedding",))

    async def moderations(self, http: Request) -> Response:
        """Texts that were looked at; their tokens are estimates."""
        return await self._usage(http, "moderations", ("moderation",))

    async def file_searches(self, http: Request) -> Response:
        """Calls of the tool file_search."""
        return await self._usage(http, "file_searches", ("file_search",))

    async def web_searches(self, http: Request) -> Response:
        """Searches of the tool web_search; a request to a model is a response that made some."""
        return await self._usage(http, "web_searches", ("web_search",), ("web_response",))

    async def code_sessions(self, http: Request) -> Response:
        """Containers that were made for code."""
        return await self._usage(http, "code_interpreter_sessions", ("code_session",))

    async def costs(self, http: Request) -> Response:
        """What all of it cost."""
        query = self._query(http)
        groups = [name for name in query.groups() if name in ("project_id", "api_key_id")]
        sums = await self._sums(query, groups, OPERATIONS)
        buckets = [
            CostsBucket(
                start_time=start,
                end_time=start + query.width_s,
                results=[
                    CostsResult(amount=Money(totals.cost / 1e6), **named) for named, totals in sums.get(start, [])
                ],
            )
            for start in range(query.start, query.end, query.width_s)
        ]
        return replies.json(CostsPage(data=buckets, has_more=query.next_page is not None, next_page=query.next_page))

    async def _usage(
        self, http: Request, kind: str, operations: Sequence[Operation], within: Sequence[Operation] = ()
    ) -> Response:
        """`within` are the operations that requests to models are told of, if they are others."""
        query = self._query(http)
        groups = query.groups()
        sums = await self._sums(query, groups, operations)
        outer = await self._sums(query, groups, within) if within else {}

        def results(start: int) -> list[UsageResult]:
            found: list[UsageResult] = []
            for named, totals in sums.get(start, []):
                figures = _figures(kind, totals)
                if within:
                    figures["num_model_requests"] = sum(
                        each.requests for who, each in outer.get(start, ()) if who == named
                    )
                found.append(UsageResult(object=f"organization.usage.{kind}.result", **named, **figures))
            return found

        buckets = [
            UsageBucket(start_time=start, end_time=start + query.width_s, results=results(start))
            for start in range(query.start, query.end, query.width_s)
        ]
        return replies.json(UsagePage(data=buckets, has_more=query.next_page is not None, next_page=query.next_page))

    def _query(self, http: Request) -> _Query:
        return _Query(http, int(self._services.clock.now()))

    async def _sums(
        self, query: _Query, groups: Sequence[str], operations: Sequence[Operation]
    ) -> "dict[int, list[tuple[Named, Totals]]]":
        """Of each bucket its groups, by what was grouped by."""
        found: dict[int, dict[tuple[Any, ...], Totals]] = {}
        columns: list[Column] = list(dict.fromkeys(COLUMNS[name] for name in groups))
        for each in await self._services.sums(
            query.start,
            query.end,
            query.width_s,
            columns,
            operations=operations,
            keys=query.keys,
            deployments=query.models,
            projects=query.projects,
            batch=query.batch,
        ):
            row = dict(zip(columns, each.group, strict=True))
            group, bucket = tuple(_told(name, row[COLUMNS[name]]) for name in groups), found.setdefault(each.start, {})
            before = bucket.get(group, Totals(0, 0, 0, 0, 0))
            bucket[group] = Totals(*map(sum, zip(before, each.totals, strict=True)))
        return {
            start: [(dict(zip(groups, group, strict=True)), totals) for group, totals in bucket.items()]
            for start, bucket in found.items()
        }


def _told(name: str, value: str) -> str | bool | None:
    """What a row of the ledger says of something that is grouped by."""
    if name == "user_id":
        return value if value.startswith(USER) else None
    return value == "batch" if name == "batch" else value


def _figures(kind: str, totals: Totals) -> dict[str, Any]:
    """The sums that are told of a kind of usage."""
    if kind in ("file_searches", "web_searches"):
        return {"num_requests": totals.requests}
    if kind == "code_interpreter_sessions":
        return {"num_sessions": totals.requests}
    found = {"input_tokens": totals.prompt, "num_model_requests": totals.requests}
    if kind == "completions":
        found |= {
            "output_tokens": totals.completion,
            "input_cached_tokens": totals.cached,
            "input_uncached_tokens": totals.prompt - totals.cached,
        }
    return found

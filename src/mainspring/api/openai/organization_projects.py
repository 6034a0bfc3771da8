"""organization/projects, and in them service_accounts, rate_limits and spend_limit, as OpenAI's administration has
them. Parse, call governance, render."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.openai import replies
from mainspring.api.openai import replies_organization as shapes
from mainspring.api.openai import wire_organization as wire
from mainspring.api.openai.pages import flag_of
from mainspring.api.services import Services
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.governance.control import Control
from mainspring.governance.projects import Projects
from mainspring.governance.roles import allows
from mainspring.governance.wanted import UNIT_REQUESTS, UNIT_TOKENS, Deployment, Project
from mainspring.governance.windows import start_of

__all__ = ["ProjectRoutes", "actor_of"]

CENT = 10_000
"""Millionths."""


def actor_of(http: Request) -> str:
    """Whose doing a request is."""
    principal = context_of(http).principal
    assert principal is not None, "every route of the administration needs a permission"
    return principal.id


class ProjectRoutes:
    """The handlers of projects, and of what they may use."""

    def __init__(self, services: Services, control: Control) -> None:
        self._services, self._control = services, control

    def _projects(self, http: Request) -> Projects:
        return self._control.projects.by(actor_of(http))

    async def _project(self, http: Request) -> Project:
        return await self._control.projects.get(http.path_params["project_id"])

    async def list(self, http: Request) -> Response:
        """The projects that the caller may see."""
        principal, all_of_them = context_of(http).principal, flag_of(http, "include_archived")
        assert principal is not None, "see `actor_of`"
        found = [
            each
            for each in (await self._control.projects.snapshot()).projects.values()
            if allows(principal.roles_in(each.name), "projects.read") and (all_of_them or each.archived is None)
        ]
        found.sort(key=lambda each: (each.created, each.name))
        shown, first, last, more = shapes.page(http, found, lambda each: each.name)
        data = list(map(shapes.OrganizationProject.of, shown))
        return replies.json(shapes.OrganizationProjectList(data=data, first_id=first, last_id=last, has_more=more))

    async def create(self, http: Request) -> Response:
        """Make a project."""
        body = await read_body(http, wire.ProjectCreateRequest, self._services.max_body_bytes)
        return replies.json(shapes.OrganizationProject.of(await self._projects(http).open(body.name)))

    async def retrieve(self, http: Request) -> Response:
        """One project."""
        return replies.json(shapes.OrganizationProject.of(await self._project(http)))

    async def update(self, http: Request) -> Response:
        """Change what people call a project."""
        body = await read_body(http, wire.ProjectUpdateRequest, self._services.max_body_bytes)
        project = await self._project(http)
        if body.name is not None:
            project = await self._projects(http).rename(project.name, body.name)
        return replies.json(shapes.OrganizationProject.of(project))

    async def archive(self, http: Request) -> Response:
        """End a project, and keep what is in it."""
        project = await self._projects(http).archive(http.path_params["project_id"])
        return replies.json(shapes.OrganizationProject.of(project))

    # -- what deployments may use --------------------------------------------------------------------------------------

    async def rate_limits(self, http: Request) -> Response:
        """The limits of the deployments that have some by the minute."""
        found = await self._limited(await self._project(http))
        limits = list(map(shapes.ProjectRateLimit.of, found))
        data, first, last, more = shapes.page(http, limits, lambda each: each.id, usual=100)
        return replies.json(shapes.ProjectRateLimitList(data=data, first_id=first, last_id=last, has_more=more))

    async def set_rate_limit(self, http: Request) -> Response:
        """Give a deployment more capacity or less."""
        body = await read_body(http, wire.ProjectRateLimitUpdateRequest, self._services.max_body_bytes)
        named = http.path_params["rate_limit_id"]
        limited = await self._limited(await self._project(http))
        found = next((each for each in limited if f"rl-{each.name}" == named), None)
        if found is None:
            raise NotFound(f"No such rate limit: {named[:100]}", param="rate_limit_id")
        if (capacity := _capacity(body)) is not None:
            wanted = msgspec.structs.replace(found, capacity=capacity)
            found, _ = await self._projects(http).deploy(wanted)
        return replies.json(shapes.ProjectRateLimit.of(found))

    async def _limited(self, project: Project) -> "list[Deployment]":
        snapshot = await self._control.projects.snapshot()
        return [each for each in snapshot.of(project.name) if each.limits.requests_per_minute is not None]

    # -- what a project may cost ---------------------------------------------------------------------------------------

    async def spend_limit(self, http: Request) -> Response:
        """What a project may cost a month."""
        return await self._spend(await self._project(http))

    async def set_spend_limit(self, http: Request) -> Response:
        """Limit what it may cost."""
        body = await read_body(http, wire.SpendLimitUpdateRequest, self._services.max_body_bytes)
        name = http.path_params["project_id"]
        return await self._spend(await self._projects(http).limit_cost(name, body.threshold_amount * CENT))

    async def delete_spend_limit(self, http: Request) -> Response:
        """Let it cost what it costs."""
        project = await self._project(http)
        if had := project.limits.cost_per_month is not None:
            await self._projects(http).limit_cost(project.name, None)
        return replies.json(shapes.SpendLimitDeleted(deleted=had))

    async def _spend(self, project: Project) -> Response:
        most = project.limits.cost_per_month
        if most is None:
            raise NotFound(f"The project {project.name!r} has no spend limit.")
        now_s = int(self._services.clock.now())
        spent = await self._control.reports.totals(start_of("month", now_s), now_s + 1, ("project",))
        cost = sum(each.totals.cost for each in spent if each.group == (project.name,))
        enforcement = shapes.Enforcement(status="enforcing" if cost >= most else "inactive")
        return replies.json(shapes.SpendLimit(threshold_amount=most // CENT, enforcement=enforcement))


def _capacity(body: wire.ProjectRateLimitUpdateRequest) -> int | None:
    """The units that are asked for; None if nothing is."""
    requests, tokens = body.max_requests_per_1_minute, body.max_tokens_per_1_minute
    units = {
        given // unit
        for given, unit in ((requests, UNIT_REQUESTS), (tokens, UNIT_TOKENS))
        if given is not None
    }  # fmt: skip
    if len(units) > 1:
        raise InvalidRequest(
            f"A deployment has {UNIT_TOKENS:,} tokens a minute for every {UNIT_REQUESTS} requests: give one of them, "
            "or both of the same capacity.",
            param="max_requests_per_1_minute",
        )
    return units.pop() if units else None

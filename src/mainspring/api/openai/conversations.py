"""conversations: parse, call `responses.conversations`, render."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response as HttpResponse

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.errors import Dialect
from mainspring.api.openai import replies
from mainspring.api.openai.asks import include_of, items_of
from mainspring.api.openai.pages import page_of
from mainspring.api.openai.replies_responses import Conversation, ConversationDeleted, ConversationItem, ItemList
from mainspring.api.openai.wire_responses import (
    CreateConversationItemsRequest,
    CreateConversationRequest,
    UpdateConversationRequest,
)
from mainspring.api.openapi import Operation
from mainspring.api.services import Services
from mainspring.core.errors import InvalidRequest
from mainspring.responses.conversations import Conversations
from mainspring.responses.shown import INCLUDABLE, shown_entry
from mainspring.store.responses import Entry

__all__ = ["ConversationRoutes", "conversation_operations"]


class ConversationRoutes:
    """The handlers, the same ones in every dialect."""

    def __init__(self, services: Services, conversations: Conversations) -> None:
        self._services, self._conversations = services, conversations

    async def create(self, http: Request) -> HttpResponse:
        """Begin one."""
        body = await read_body(http, CreateConversationRequest, self._services.max_body_bytes)
        made = await self._conversations.create(context_of(http).project, body.metadata or {}, _entries(body.items))
        return replies.json(Conversation.of(made))

    async def retrieve(self, http: Request) -> HttpResponse:
        """Show one."""
        return replies.json(Conversation.of(await self._conversations.get(*_named(http))))

    async def update(self, http: Request) -> HttpResponse:
        """Put other labels on it."""
        body = await read_body(http, UpdateConversationRequest, self._services.max_body_bytes)
        return replies.json(Conversation.of(await self._conversations.update(*_named(http), body.metadata)))

    async def delete(self, http: Request) -> HttpResponse:
        """Forget it."""
        project, id = _named(http)  # noqa: A001
        await self._conversations.remove(project, id)
        return replies.json(ConversationDeleted(id=id))

    async def add(self, http: Request) -> HttpResponse:
        """Add items at its end."""
        include = include_of(http, INCLUDABLE)
        body = await read_body(http, CreateConversationItemsRequest, self._services.max_body_bytes)
        added = await self._conversations.add(*_named(http), _entries(body.items))
        return replies.json(ItemList.of(added, include, has_more=False))

    async def list(self, http: Request) -> HttpResponse:
        """Its items."""
        include = include_of(http, INCLUDABLE)
        found, more = await self._conversations.list(*_named(http), **page_of(http))
        return replies.json(ItemList.of(found, include, has_more=more))

    async def item(self, http: Request) -> HttpResponse:
        """One of them."""
        include = include_of(http, INCLUDABLE)
        found = await self._conversations.item(*_named(http), http.path_params["item_id"])
        return replies.json(shown_entry(found, include))

    async def remove_item(self, http: Request) -> HttpResponse:
        """Forget one of them."""
        found = await self._conversations.remove_item(*_named(http), http.path_params["item_id"])
        return replies.json(Conversation.of(found))


def _named(http: Request) -> tuple[str, str]:
    return context_of(http).project, http.path_params["conversation_id"]


def _entries(given: object) -> list[Entry]:
    items = items_of(given)
    if any(item["type"] == "item_reference" for item in items):
        raise InvalidRequest("A conversation holds items themselves, not references to others.", param="items")
    return [Entry(item) for item in items]


_PAGE = ("items/after", "items/limit", "items/order", "include")


def conversation_operations(services: Services, conversations: Conversations) -> list[Operation]:
    """Every operation in every dialect, for the table of the application."""
    prefixes: tuple[tuple[str, Dialect], ...] = (("/v1", "openai"), ("/openai/v1", "azure_v1"), ("/openai", "azure"))
    routes = ConversationRoutes(services, conversations)
    return [each for prefix, dialect in prefixes for each in _operations(routes, f"{prefix}/conversations", dialect)]


def _operations(routes: ConversationRoutes, path: str, dialect: Dialect) -> list[Operation]:
    asks = partial(Operation, dialect=dialect, needs="inference")
    gets, posts = partial(asks, method="GET"), partial(asks, method="POST")
    deletes = partial(asks, method="DELETE", extra_status=(503,))
    name, one = f"{dialect}_conversations", f"{path}/{{conversation_id}}"
    items, item = f"{one}/items", f"{one}/items/{{item_id}}"
    return [
        posts(path=path, handler=routes.create, name=f"{name}_create", summary="Begin a conversation",
              body=CreateConversationRequest, reply=Conversation),
        gets(path=one, handler=routes.retrieve, name=f"{name}_retrieve", summary="Describe a conversation",
             reply=Conversation, extra_status=(503,)),
        posts(path=one, handler=routes.update, name=f"{name}_update", summary="Label a conversation",
              body=UpdateConversationRequest, reply=Conversation),
        deletes(path=one, handler=routes.delete, name=f"{name}_delete", summary="Delete a conversation",
                reply=ConversationDeleted),
        posts(path=items, handler=routes.add, name=f"{name}_items_create", summary="Add items to a conversation",
              body=CreateConversationItemsRequest, reply=ItemList, query=("include",)),
        gets(path=items, handler=routes.list, name=f"{name}_items_list", summary="List a conversation's items",
             reply=ItemList, query=_PAGE, extra_status=(400, 503)),
        gets(path=item, handler=routes.item, name=f"{name}_items_retrieve", summary="Show an item",
             reply=ConversationItem, query=("include",), extra_status=(400, 503)),
        deletes(path=item, handler=routes.remove_item, name=f"{name}_items_delete", summary="Delete an item",
                reply=Conversation),
    ]  # fmt: skip

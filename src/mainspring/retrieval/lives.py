"""Whether a store has expired."""

from mainspring.core.errors import InvalidRequest
from mainspring.retrieval.rows import Store

__all__ = ["check_lives", "has_expired"]


def has_expired(store: Store, now_s: float) -> bool:
    """Whether its time is over."""
    return store.expires is not None and store.expires <= now_s


def check_lives(store: Store, now_s: float) -> None:
    """Refuse what is done with a store whose time is over.

    Raises:
        InvalidRequest: it is.
    """
    if has_expired(store, now_s):
        raise InvalidRequest(
            f"Vector store {store.id} has expired: it was not used for {store.expires_days} days. Make a new one.",
            code="vector_store_expired", param="vector_store_id",
        )  # fmt: skip

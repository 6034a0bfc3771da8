"""Ids as OpenAI writes them: what it is, and random hex digits."""

import secrets

__all__ = ["new_id"]


def new_id(prefix: str) -> str:
    """A new id; 128 random bits, so that nobody guesses one."""
    return prefix + secrets.token_hex(16)

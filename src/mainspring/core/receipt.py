"""What an engine tells of a generation beside what the model says, for whoever wants to know how an answer was made.

Only requests that ask for it (`GenerateRequest.explains`) are told these two events: `Prompted` first, `Computed` just
before the end.
"""

import msgspec

__all__ = ["Computed", "EngineBuild", "Prompted", "Weights", "WeightsFile"]


class WeightsFile(msgspec.Struct, frozen=True):
    """A file that was loaded. The SHA-256 is what the catalog wrote down when it made the file: loading reads it no
    further than is needed, and hashes nothing."""

    path: str
    bytes: int
    sha256: str


class Weights(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a replica computes with.

    Args:
        model: name@version.
        format: as it is served: "shipped", or one of `engine/formats.py`.
        files: those that were loaded.
        base: what an adapter, or a model that was trained, was made from, as name@version.
        made_by: the id of the job that trained it.
    """

    model: str
    format: str
    files: tuple[WeightsFile, ...]
    base: str | None = None
    made_by: str | None = None


class EngineBuild(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What has computed: the program, the build of the library below it, the processor, and the settings that decide
    how sums are rounded."""

    name: str
    build: str
    processor: str = ""
    settings: dict[str, int | str | bool] = {}


class Prompted(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="p"):
    """What the model was shown.

    Args:
        text: the prompt as its tokens read, names of control tokens included.
        num_tokens, sha256: of the prompt's tokens; the hash is over their ids, each as four bytes, little-endian.
        cached: so many of them, from the first on, were not computed again.
        seed: of the draws: the request's, or the one that was chosen; None if the engine does not tell.
        spans: of each message of a chat, the tokens of its text, from start to end; empty if the template has done
            something to the texts that they cannot be followed through. Tokens between spans are the template's.
        beside: tokens of each text in `GenerateRequest.beside`.
        weights, adapter: None if nobody knows.
    """

    text: str
    num_tokens: int
    sha256: str
    context_length: int
    cached: int = 0
    seed: int | None = None
    spans: tuple[tuple[int, int], ...] = ()
    beside: tuple[int, ...] = ()
    engine: EngineBuild | None = None
    weights: Weights | None = None
    adapter: Weights | None = None


class Computed(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="d"):
    """How the answer was computed, when it has ended by itself.

    Args:
        ids: its tokens, each as four bytes, little-endian.
        together: most sequences that were computed in one step with it, itself included; 0 if the engine does not tell.
        guessed: tokens that were tried ahead.
        parted: of an answer that followed another one: where something else was drawn, the place behind its last token
            included, and how much probability lay between the draw and the token that it followed.
    """

    ids: bytes
    together: int = 0
    guessed: int = 0
    parted: tuple[tuple[int, float], ...] = ()

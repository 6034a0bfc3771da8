"""The source `hf:org/repo[/[file]]`: the Hugging Face Hub over HTTPS, resumed and verified.

`HF_ENDPOINT` names another hub (a mirror), `HF_TOKEN` is sent to it and to nobody else. What a file must hash to comes
from the hub's listing of the repository, at one commit, and never from the download itself: SHA-256 for what is large,
and git's own hash of a blob for configurations.
"""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import msgspec

from mainspring.core.errors import UserMistake
from mainspring.core.types import FileRef
from mainspring.models import folder
from mainspring.models.sources import Context, Fetched, check_file_name, check_space, sync

__all__ = ["PREFERRED", "choose", "from_hub"]

PREFERRED = ("Q4_K_M", "Q4_0", "Q4_K_S", "Q4_1", "Q5_K_M", "Q5_K_S", "Q6_K", "Q8_0", "F16", "BF16", "F32")
"""Which file is taken when none is named: small and good first (4 bits lose little and are the fastest on a CPU),
then the larger ones. A repository with none of them gives its smallest GGUF file."""

SMALL_SUFFIXES = (".json", ".jinja")
MAX_SMALL_BYTES = 64 * 2**20
MAX_ATTEMPTS = 5
RETRY_WAIT_S = 1.0
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)


class _Lfs(msgspec.Struct):
    sha256: str | None = None


class Listed(msgspec.Struct):
    """A file in the hub's listing."""

    rfilename: str
    size: int | None = None
    lfs: _Lfs | None = None
    blob: str | None = msgspec.field(name="blobId", default=None)


class _Card(msgspec.Struct):
    license: str | list[str] | None = None


class _Listing(msgspec.Struct):
    sha: str
    siblings: list[Listed] = []
    card: _Card | None = msgspec.field(name="cardData", default=None)


def from_hub(rest: str, context: Context) -> Fetched:
    """Fetch the named file, or the preferred one, with all of its shards; with a slash at the end, the model in
    safetensors that the repository is.

    Raises:
        UserMistake: misspelt, missing, private without a token, refused, or it does not arrive whole.
    """
    parts = rest.split("/", 2)
    repository, wanted = "/".join(parts[:2]), parts[2] if len(parts) > 2 else None
    if not _REPOSITORY.fullmatch(repository) or ".." in repository:
        raise UserMistake(f"hf:{rest} is not a repository: write hf:org/repo, hf:org/repo/file.gguf or hf:org/repo/.")
    if wanted:
        check_file_name(wanted.rsplit("/", 1)[-1])
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    token = os.environ.get("HF_TOKEN", "").strip()
    headers = {"authorization": f"Bearer {token}"} if token else {}
    # httpx drops the authorization header when a redirect leads to another host: the hub's storage needs none.
    with httpx.Client(base_url=endpoint, headers=headers, follow_redirects=True, timeout=30.0) as http:
        try:
            listing = _list(http, repository)
            files = _choose(listing.siblings, wanted, repository)
            check_space(context.work, sum(file.size or 0 for file, _ in files))
            prefix = f"/{repository}/resolve/{listing.sha}"
            fetched = tuple(
                _fetch_file(http, f"{prefix}/{file.rfilename}", file, name, context) for file, name in files
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UserMistake(
                f"The hub at {endpoint} could not be reached ({type(error).__name__}): check the network and "
                "HF_ENDPOINT, then run the command again; it goes on where it stopped."
            ) from error
    licence = listing.card.license if listing.card else None
    return Fetched(fetched, licence if isinstance(licence, str) else None)


def _list(http: httpx.Client, repository: str) -> _Listing:
    answer = http.get(f"/api/models/{repository}/revision/main", params={"blobs": "true"})
    _check(answer, repository)
    try:
        listing = msgspec.json.decode(answer.content, type=_Listing)
    except msgspec.MsgspecError as error:
        raise UserMistake(
            f"The hub's listing of {repository} is not understood ({error}): check HF_ENDPOINT."
        ) from error
    if not re.fullmatch(r"[0-9a-f]{40}", listing.sha):
        raise UserMistake(f"The hub's listing of {repository} names no commit: check HF_ENDPOINT.")
    return listing


def _check(answer: httpx.Response, repository: str) -> None:
    if answer.status_code in {401, 403}:
        raise UserMistake(
            f"The hub does not show {repository}: check the spelling, and for a private or gated repository accept its "
            "terms on the hub and set HF_TOKEN."
        )
    if answer.status_code == 404:
        raise UserMistake(f"The hub has no {repository}: check the spelling.")
    if answer.status_code not in {200, 206, 416}:
        raise UserMistake(f"The hub answered {answer.status_code} for {repository}: try again later.")


def _choose(listed: Sequence[Listed], wanted: str | None, repository: str) -> list[tuple[Listed, str]]:
    """The files to fetch, each with its name in the catalog."""
    if wanted == "":
        known = {file.rfilename: file for file in listed}
        return [(known[inside], name) for inside, name in folder.choose(known.keys(), repository).items()]
    files = choose(listed, wanted, repository)
    return [(file, check_file_name(file.rfilename.rsplit("/", 1)[-1])) for file in files]


def choose(listed: Sequence[Listed], wanted: str | None, repository: str) -> list[Listed]:
    """The files to fetch: one, or every shard of one. Projectors and importance matrices are not models."""
    models = {
        file.rfilename: file
        for file in listed
        if file.rfilename.lower().endswith(".gguf") and not re.search(r"(^|/)(mmproj|imatrix)", file.rfilename.lower())
    }
    if wanted is not None:
        if wanted not in models:
            known = ", ".join(sorted(models)[:8]) or "no GGUF file"
            raise UserMistake(f"{repository} has no {wanted}: it has {known}.")
        return _shards(models, wanted)
    first = [name for name in models if not (shard := _SHARD.search(name)) or shard[1] == "00001"]
    if not first:
        raise UserMistake(f"{repository} has no GGUF file: choose a repository whose name ends in -GGUF.")
    return _shards(models, min(first, key=lambda name: (_rank(name), models[name].size or 0, name)))


def _rank(name: str) -> int:
    for rank, form in enumerate(PREFERRED):
        if re.search(rf"(^|[^a-z0-9]){form}([^a-z0-9_]|$)", name, re.IGNORECASE):
            return rank
    return len(PREFERRED)


def _shards(models: dict[str, Listed], name: str) -> list[Listed]:
    shard = _SHARD.search(name)
    if shard is None:
        return [models[name]]
    stem, count = name[: shard.start()], int(shard[2])
    names = [f"{stem}-{index:05d}-of-{shard[2]}.gguf" for index in range(1, count + 1)]
    if not 1 <= count <= 999 or any(each not in models for each in names):
        raise UserMistake(f"{name} is in parts and not all of them are there: choose another file.")
    return [models[each] for each in names]


def _fetch_file(http: httpx.Client, url: str, listed: Listed, name: str, context: Context) -> FileRef:
    sha256 = listed.lfs.sha256 if listed.lfs else None
    if sha256 is None and name.endswith(SMALL_SUFFIXES):
        return _fetch_small(http, url, listed, name, context)
    if sha256 is None or not re.fullmatch(r"[0-9a-f]{64}", sha256) or listed.size is None:
        raise UserMistake(f"The hub gives no SHA-256 for {name}, so it cannot be verified: choose another file.")
    reference = FileRef(path=name, bytes=listed.size, sha256=sha256)
    target = context.work / "files" / name
    if (held := context.held(sha256)) is not None:
        target.unlink(missing_ok=True)
        _link(held, target)
        return reference
    part = target.with_name(name + ".part")
    if target.exists():  # a run that was stopped between two files: whole, but hashed again below
        target.replace(part)
    _download(http, url, part, reference, context)
    if _hash(part) != sha256:
        part.unlink()
        raise UserMistake(f"{name} did not arrive as the hub describes it (SHA-256 differs): run the command again.")
    part.replace(target)
    return reference


def _fetch_small(http: httpx.Client, url: str, listed: Listed, name: str, context: Context) -> FileRef:
    """A configuration: git keeps it itself, so what the hub lists of it is git's hash of its content."""
    if listed.blob is None or not re.fullmatch(r"[0-9a-f]{40}", listed.blob) or listed.size is None:
        raise UserMistake(f"The hub gives no hash for {name}, so it cannot be verified: choose another repository.")
    if listed.size > MAX_SMALL_BYTES:
        raise UserMistake(f"{name} is larger than any real one: choose another repository.")
    part = context.work / "files" / f"{name}.part"
    part.unlink(missing_ok=True)
    _download(http, url, part, FileRef(path=name, bytes=listed.size, sha256=""), context)
    data = part.read_bytes()
    if hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() != listed.blob:
        part.unlink()
        raise UserMistake(f"{name} did not arrive as the hub describes it (its hash differs): run the command again.")
    part.replace(part.with_name(name))
    return FileRef(path=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def _link(held: Path, target: Path) -> None:
    try:
        os.link(held, target)
    except OSError:
        shutil.copyfile(held, target)


def _download(http: httpx.Client, url: str, part: Path, reference: FileRef, context: Context) -> None:
    """Append to `part` until it has the right size, going on after every interruption that follows some progress."""
    failures = 0
    while True:
        have = part.stat().st_size if part.exists() else 0
        if have > reference.bytes:
            part.unlink()
            have = 0
        if have == reference.bytes and part.exists():
            return
        try:
            _download_rest(http, url, part, reference, context)
        except httpx.TransportError:
            grown = part.exists() and part.stat().st_size > have
            failures = 1 if grown else failures + 1
            if failures >= MAX_ATTEMPTS:
                raise
            time.sleep(RETRY_WAIT_S * failures)


def _download_rest(http: httpx.Client, url: str, part: Path, reference: FileRef, context: Context) -> None:
    have = part.stat().st_size if part.exists() else 0
    # Compression would make the bytes of a range meaningless.
    headers = {"accept-encoding": "identity"} | ({"range": f"bytes={have}-"} if have else {})
    with http.stream("GET", url, headers=headers) as answer:
        _check(answer, reference.path)
        resumed = answer.status_code == 206 and _starts_at(answer) == have
        if have and not resumed:  # a server without ranges starts over, and so do we
            part.unlink()
            have = 0
            if answer.status_code != 200:
                return
        with part.open("ab") as file:
            for chunk in answer.iter_raw():
                have += len(chunk)
                if have > reference.bytes:
                    raise UserMistake(f"{reference.path} is larger than the hub says: run the command again.")
                file.write(chunk)
                context.progress("downloading", have, reference.bytes)
            sync(file)


def _starts_at(answer: httpx.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", answer.headers.get("content-range", ""))
    return int(match[1]) if match else None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

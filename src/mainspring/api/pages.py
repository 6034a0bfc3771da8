"""The pages: the built files of web/, which `scripts/pages` puts into mainspring/pages, and what a browser may do with
them.

`index.html` is every page there is: the rest is decided in the browser. It is checked with every visit; what lies in
assets/ has its content's hash in its name and is kept for a year. Only files that were found in the folder are ever
read, under the names that they were found by, so no path leads elsewhere. After a build the folder is looked at again,
without a restart.

The pages load nothing from elsewhere and run no script but their own, whatever a model has written. Diagrams need
styles in their text, which the pages do not allow themselves: those are drawn in `diagram.html`, a sandboxed document
with a policy of its own, and come back as images.
"""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from starlette.types import Receive, Scope, Send

from mainspring.api.browser import prefix_of
from mainspring.api.context import ROUTE, header

__all__ = ["PAGES", "PAGES_ROUTE", "PAGE_POLICY", "Pages"]

PAGES_ROUTE = "pages"
"""What logs and metrics call all of them."""
PAGES = Path(str(resources.files("mainspring"))) / "pages"
INDEX = "index.html"
BUILT = ".built"
"""What `scripts/pages` writes last."""
_base = re.compile(rb'<base href="/"\s*/?>')
"""In index.html: what its own addresses are relative to."""
ASSETS = "/assets/"
EXACT = frozenset({"/", "/sign-in", "/assistants", "/chat", "/playground", "/console"})
BELOW = ("/c/", "/chat/", "/playground/", "/console/", "/s/")
"""Addresses of pages. They are the browser's to take apart; what is no page, the page says."""

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
"""The smallest first."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; frame-src 'self' blob:; manifest-src 'self'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
GUARDS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", PAGE_POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""On every answer; `x-content-type-options` is on all that the server says."""
DRAWING = "/diagram.html"
DRAWING_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox allow-scripts"
)
"""Of the document that diagrams are drawn in, which reads what a model wrote: it has no origin, so neither cookies nor
storage, and may ask nobody for anything but its own scripts. Styles are what a drawing is made of."""
OPEN = (b"access-control-allow-origin", b"*")
"""On what is built, which is the same for everybody: a document without an origin loads modules as from elsewhere."""
KEPT = b"public, max-age=31536000, immutable"
ASKED = b"no-cache"

NOT_BUILT = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<base href="/">
<title>Mainspring</title>
<style>body { font: 1rem/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 38rem; padding: 0 1rem }</style>
<h1>Mainspring runs</h1>
<p>Its API answers here, and <a href="docs">/docs</a> describes it. The pages are not part of this installation.</p>
<p>In a clone of the repository, <code>scripts/pages</code> builds them; then load this page again. It needs Node.js, or
fetches it. A wheel that was built from the sources has them.</p>
</html>
"""


@dataclass(frozen=True)
class Found:
    """An answer: a file, or the page. Plain ASGI."""

    pages: "Pages"
    path: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send it."""
        scope[ROUTE] = PAGES_ROUTE
        status, headers, body = await asyncio.to_thread(self.pages.answer, self.path, scope["headers"])
        headers = [*headers, *(_drawing_guards() if self.path == DRAWING else GUARDS)]
        if status != 304:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


Headers = list[tuple[bytes, bytes]]


class Pages:
    """The pages of one folder, which need not be there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamp: list[int] = []
        self._files: dict[str, Path] = {}
        self._look()

    def find(self, scope: Scope) -> Found | None:
        """What answers a request, if it is for a page; an API's client is not answered with one."""
        path: str = scope["path"]
        if scope["method"] not in ("GET", "HEAD"):
            return None
        if path.startswith(ASSETS) or path in self._files:
            return Found(self, path)
        if path not in EXACT and not path.startswith(BELOW):
            return None
        return Found(self, "") if b"text/html" in (header(scope["headers"], b"accept") or b"") else None

    def answer(self, path: str, asked: Headers) -> tuple[int, Headers, bytes]:
        """Status, headers and body of a file, or with an empty path of the page. Reads from the disk."""
        if not path:
            self._look()
            return self._index(asked)
        try:
            return self._file(path, asked)
        except (KeyError, OSError):  # never there, or there no longer
            return (
                404,
                [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")],
                b"Not found.",
            )

    def _look(self) -> None:
        """Note every file, unless they are still those that were there before."""
        stamp = [_written(self._folder / name) for name in (INDEX, BUILT)]
        if stamp != self._stamp:
            found = (each for each in self._folder.rglob("*") if each.is_file() and not each.name.startswith("."))
            files = {f"/{each.relative_to(self._folder).as_posix()}": each for each in found}
            files.pop(f"/{INDEX}", None)
            self._stamp, self._files = stamp, files

    def _index(self, asked: Headers) -> tuple[int, Headers, bytes]:
        here = b'<base href="%s/">' % prefix_of(asked).encode()
        try:
            body = (self._folder / INDEX).read_bytes()
        except OSError:
            headers = [(b"content-type", _type(".html")), (b"cache-control", b"no-store")]
            return 404, headers, _base.sub(here, NOT_BUILT)
        return _checked(asked, _base.sub(here, body), ".html", [(b"vary", b"x-forwarded-prefix")])

    def _file(self, path: str, asked: Headers) -> tuple[int, Headers, bytes]:
        file = self._files[path]
        if not path.startswith(ASSETS):
            return _checked(asked, file.read_bytes(), file.suffix, [])
        headers = [(b"content-type", _type(file.suffix)), (b"cache-control", KEPT), (b"vary", b"accept-encoding"), OPEN]
        for name, suffix in ENCODINGS:
            packed = self._files.get(path + suffix)
            if packed is not None and _takes(header(asked, b"accept-encoding") or b"", name):
                return 200, [*headers, (b"content-encoding", name.encode())], packed.read_bytes()
        return 200, headers, file.read_bytes()


def _drawing_guards() -> Headers:
    opener = b"cross-origin-opener-policy"  # a document that is sandboxed cannot have one
    policy = {b"content-security-policy": DRAWING_POLICY.encode(), opener: None}
    return [(name, value) for name, own in GUARDS if (value := policy.get(name, own)) is not None]


def _written(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _type(suffix: str) -> bytes:
    return TYPES.get(suffix.lower(), "application/octet-stream").encode()


def _checked(asked: Headers, body: bytes, suffix: str, more: Headers) -> tuple[int, Headers, bytes]:
    """What a browser keeps, and asks about with every visit."""
    mark = b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()
    headers = [(b"cache-control", ASKED), (b"etag", mark), *more]
    known = {each.strip().removeprefix(b"W/") for each in (header(asked, b"if-none-match") or b"").split(b",")}
    if mark in known or b"*" in known:
        return 304, headers, b""
    return 200, [(b"content-type", _type(suffix)), *headers], body


def _takes(accepted: bytes, encoding: str) -> bool:
    """Whether a client takes an encoding: it names it, or "*", and not with the weight 0."""
    weights: dict[str, bool] = {}
    for each in accepted.decode("latin-1").lower().split(","):
        name, _, rest = each.partition(";")
        weight = rest.replace(" ", "").removeprefix("q=")
        weights[name.strip()] = not weight or weight.strip("0.") != ""
    return weights.get(encoding, weights.get("*", False))

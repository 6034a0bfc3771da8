"""Where deliveries may go. Pure.

Whoever may make an endpoint says to which machine this server connects: only to the internet's, unless settings allow
others. A name is looked up once, and what it stands for is looked at where the connection is made (`sending.py`), since
the same name may stand for something else a moment later.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from mainspring.core.errors import InvalidRequest

__all__ = ["MAX_URL", "check_url", "networks_of", "why_not"]

MAX_URL = 2048
_NAT64 = IPv6Network("64:ff9b::/96")
"""An IPv4 address in its last 32 bits (RFC 6052)."""

Network = IPv4Network | IPv6Network


def networks_of(texts: Sequence[str]) -> tuple[Network, ...]:
    """What `why_not` is given."""
    return tuple(ip_network(each) for each in texts)


def _meant(address: IPv4Address | IPv6Address) -> tuple[IPv4Address | IPv6Address, ...]:
    """What is reached at an address: for IPv4's written as IPv6's, those; for tunnels, both ends."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    inside = (address.sixtofour, *(address.teredo or ()))
    return (address, *(each for each in inside if each is not None))


def why_not(text: str, allowed: Sequence[Network]) -> str | None:
    """Why no connection may be made to an address; None if one may."""
    try:
        meant = _meant(ip_address(text))
    except ValueError:
        return "it is no address"
    for each in meant:
        if not any(each in network for network in allowed) and (each.is_multicast or not each.is_global):
            return "it is not the internet's (private, loopback, link-local or reserved)"
    return None


def check_url(url: str, *, allow_http: bool, allowed: Sequence[Network]) -> None:
    """Refuse what could never be delivered to. What a name stands for is looked up at each delivery.

    Raises:
        InvalidRequest: it is.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise _refused("it cannot be read") from None
    if not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        raise _refused("it has characters that an URL has not; write names of other alphabets as xn--")
    if len(url) > MAX_URL or not host:
        raise _refused(f"it names no host, or has more than {MAX_URL} characters")
    if parts.scheme != "https" and not (parts.scheme == "http" and allow_http):
        raise _refused("only https is delivered to" + ("" if allow_http else "; webhooks.allow_http allows http"))
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _refused("it must not have a user, a password or a fragment")
    try:
        ip_address(host)
    except ValueError:
        return
    if (reason := why_not(host, allowed)) is not None:
        raise _refused(f"{host} is no address that may be delivered to: {reason}. webhooks.allow_networks allows more")


def _refused(why: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid 'url': {why}.", param="url")

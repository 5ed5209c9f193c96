"""Where a webhook may go: the public internet, by https, unless the operator allows more. Pure.

A URL is checked when it is given, and each address again at the moment when it is connected to: a name may mean one
thing now and another then. So nobody reads through us what only our own network can see.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

from yarl import URL

LONGEST_URL: Final = 2048
WELL_KNOWN_PORTS: Final = (80, 443)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Ranges of IPv6 in which an IPv4 address is written, with the bit at which it ends.
_CARRIERS: Final = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),
    (ipaddress.IPv6Network("::/96"), 0),
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
)
# Not everywhere counted as reserved by the interpreter: IETF assignments (one cloud's metadata are there), local NAT64,
# 6to4 relays, site-local, segment routing, documentation.
_RESERVED_TOO: Final = tuple(
    ipaddress.ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "fec0::/10", "5f00::/16", "3fff::/20")
)
_TEREDO: Final = ipaddress.IPv6Network("2001::/32")


class TargetRefused(ValueError):
    """A URL that webhooks may not go to. The message says why, and what to do."""


def check_url(text: str, *, allow_private: bool) -> URL:
    """The URL, if it is one that may be called as far as it says by itself. Raises TargetRefused."""
    if len(text) > LONGEST_URL:
        raise TargetRefused(f"longer than {LONGEST_URL} characters")
    if any(ord(character) <= 0x20 or 0x7F <= ord(character) <= 0x9F for character in text) or "\\" in text:
        raise TargetRefused("holds a blank, a control character or a backslash")
    try:
        url = URL(text)
        port = url.port
    except ValueError as error:
        raise TargetRefused(f"not a URL: {error}") from None
    if url.scheme not in ("https", "http") or not url.host:
        raise TargetRefused("must be https://HOST/… ")
    if url.scheme == "http" and not allow_private:
        raise TargetRefused("must be https: what is sent names customers (EBBTIDE_WEBHOOK_ALLOW_PRIVATE lifts this)")
    if "@" in text.split("/", 3)[2]:
        raise TargetRefused("holds a user or a password; leave them out, every message is signed")
    if "#" in text:
        raise TargetRefused("holds a fragment (#), which is never sent")
    if port is None or not (port in WELL_KNOWN_PORTS or 1024 <= port <= 65535 or (allow_private and port > 0)):
        raise TargetRefused(f"port {port} is none that a web server has: 80, 443, or 1024 and above")
    host = url.host.rstrip(".")
    address = _address(host)
    if address is not None and not allow_private and (refusal := refused_because(address)):
        raise TargetRefused(f"{host} is {refusal} (EBBTIDE_WEBHOOK_ALLOW_PRIVATE lifts this)")
    if address is None and _is_legacy_number(host):
        raise TargetRefused(f"{host} is an address in a form that readers take for different ones; write four decimals")
    return url


def origin(url: str) -> str:
    """Scheme, host and port of a URL that was checked. The rest may be a secret: Slack's is."""
    return str(URL(url).origin())


def refused_because(address: Address) -> str | None:
    """Why webhooks may not go to this address, in words; None where they may."""
    if address.is_multicast:
        return "a multicast address"
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if address.is_unspecified or not address.is_global or any(address in network for network in _RESERVED_TOO):
        return "a private or reserved address"
    carried = _carried(address)
    return None if carried is None else refused_because(carried)


def _carried(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _TEREDO and address.teredo is not None:
        return address.teredo[1]
    for network, bits in _CARRIERS:
        if address in network:
            return ipaddress.IPv4Address((int(address) >> bits) & 0xFFFFFFFF)
    return None


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _is_legacy_number(host: str) -> bool:
    """Whether the system's resolver takes it for a number: 0x7f.1, 127.1, 2130706433, 0177.0.0.1."""
    try:
        socket.inet_aton(host)
    except (OSError, ValueError):
        return False
    return True

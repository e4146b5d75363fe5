"""Callbacks to consent platforms: by HTTPS to allow-listed hosts, at public addresses, without redirects.

A name is resolved once, its addresses are checked, and the connection goes to a checked one. The certificate is still
checked for the name, so that no second answer of the name service can lead elsewhere.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import httpx

from neuralyzer.errors import UsageError

PORT = 443
SECONDS = 10.0  # for one try
WAITS = (1.0, 5.0)  # seconds before the second and third try
LONGEST = 2000  # characters of a URL
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: IPv4 addresses within IPv6
Resolve = Callable[[str, int], Iterable[str]]


@dataclass(frozen=True)
class Sent:
    """What became of a callback.

    Attributes:
        host: to which it went.
        status: of the last answer; None if there was none.
        tries: how often it was sent.
        problem: why it was not taken; None if it was.
    """

    host: str
    status: int | None
    tries: int
    problem: str | None


def resolved(host: str, port: int) -> list[str]:
    """Return the addresses of a host."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_public(address: str) -> bool:
    """Return whether an address is one of the internet, and no other is hidden in it (IPv4 mapped, 6to4, NAT64)."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        hidden = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo and parsed.teredo[1])
        if parsed in NAT64:
            hidden = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if hidden:
            return is_public(str(hidden))
    return parsed.is_global and not parsed.is_multicast


def require(url: str, hosts: Collection[str]) -> httpx.URL:
    """Refuse a URL to which no callback may go.

    Args:
        url: of a client.
        hosts: that are allowed, in lower case.

    Returns:
        The URL.

    Raises:
        UsageError: if it is not HTTPS on port 443, has a user or a fragment, or its host is not allowed.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise UsageError("a callback's URL cannot be read") from None
    if len(url) > LONGEST or not url.isascii() or not url.isprintable():
        raise UsageError(f"a callback's URL may have {LONGEST} printable characters")
    if parsed.scheme != "https" or parsed.port not in (None, PORT) or parsed.userinfo or parsed.fragment:
        raise UsageError("a callback goes by https to port 443, without a user and a fragment")
    if parsed.host.lower() not in hosts:
        raise UsageError("a callback's host is not among callback_hosts in [service]")
    return parsed


def send(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    hosts: Collection[str],
    *,
    waits: Sequence[float] = WAITS,
    resolve: Resolve = resolved,
    public: Callable[[str], bool] = is_public,
    port: int = PORT,
    trust: ssl.SSLContext | None = None,
) -> Sent:
    """Send a callback, again if it fails; it is taken if the answer is of the 2xx.

    Args:
        url: to send to.
        body: JSON.
        headers: such as those with its signature.
        hosts: that are allowed.
        waits: seconds before each further try.
        resolve: gives the addresses of a host.
        public: says whether an address may be connected to.
        port: of the host.
        trust: authorities that certificates are checked by; the system's by default.

    Returns:
        What became of it; the problem says nothing that the host wrote.
    """
    host, tries, status, problem = "?", 0, None, "it was not sent"
    for wait in (0.0, *waits):
        time.sleep(wait)
        tries += 1
        try:
            parsed = require(url, hosts)
            host = parsed.host
            status = _once(parsed, body, headers, _checked(host, port, resolve, public), port, trust)
        except UsageError as error:  # another try would not help
            return Sent(host, None, tries, str(error))
        except (httpx.HTTPError, OSError) as error:
            status, problem = None, type(error).__name__
            continue
        if 200 <= status < 300:
            return Sent(host, status, tries, None)
        problem = "it was redirected, which is not followed" if 300 <= status < 400 else f"the answer was {status}"
        if 300 <= status < 500 and status not in (408, 425, 429):
            break
    return Sent(host, status, tries, problem)


def _checked(host: str, port: int, resolve: Resolve, public: Callable[[str], bool]) -> str:
    """Return an address of a host; all of its addresses must be public, since any might be chosen."""
    addresses = list(resolve(host, port))
    if not addresses or not all(map(public, addresses)):
        raise UsageError("a callback's host has an address that is not public")
    return addresses[0]


def _once(
    url: httpx.URL, body: bytes, headers: Mapping[str, str], address: str, port: int, trust: ssl.SSLContext | None
) -> int:
    own = {"Host": url.host, "Content-Type": "application/json", "User-Agent": "neuralyzer"} | dict(headers)
    there = url.copy_with(host=address, port=port)
    with (
        httpx.Client(
            verify=trust or ssl.create_default_context(), trust_env=False, follow_redirects=False, timeout=SECONDS
        ) as client,
        client.stream(
            "POST", there, content=body, headers=own, extensions={"sni_hostname": url.host}
        ) as answer,
    ):  # fmt: skip
        return answer.status_code  # its body is of no interest, and may have no end

"""A whole server without a socket: the real factory and protocol on a transport in memory and a Clock.

```python
server = Server(["rcpt_ok"], config={"rcpthosts": "example.org"}, hooks={"queue": lambda: OK})
client = server.connect()
assert client.read().startswith("220 ")
assert client.say("HELO me") == "250 ..."
```
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from ..building import start_logging
from ..config import Config, Line
from ..engine import Engine
from ..factory import Functions, SMTPFactory
from ..kit.storememory import MemoryStores
from ..loader import Loader
from ..log import Event, Level, Log
from ..plugin import Plugin, Services
from ..registry import Registry
from .dns import MemoryResolver
from .held import Held

ME = "mail.example.com"
START = 1_800_000_000.0
"""The time at which every test begins, in seconds since the epoch."""

Values = Mapping[str, str | Sequence[str]]


def make_services(
    config: Values | None = None, dns: MemoryResolver | None = None, reactor: Clock | None = None
) -> Services:
    """Make the services that a plugin is given: values for configuration, fake DNS, a Clock, no threads."""
    values = {"me": [ME]}
    for name, value in (config or {}).items():
        values[name] = [value] if isinstance(value, str) else list(value)
    log = Log(Level.DEBUG)
    spool = Path(tempfile.gettempdir())
    return Services(Config((), values), log, dns or MemoryResolver(), reactor or Clock(), Held(), spool)


class Server:
    """A server made of plugin lines, functions and values; ``log`` collects its lines as events.

    ``plugins`` are lines of config/plugins, or plugin objects; ``reactor`` is a Clock that can do more, as
    spawn or connect.
    """

    def __init__(
        self,
        plugins: Iterable[str | Plugin] = (),
        *,
        hooks: Mapping[str, Callable[..., Any]] | None = None,
        config: Values | None = None,
        dns: MemoryResolver | None = None,
        reactor: Clock | None = None,
        spool: Path | None = None,
        loader: Loader | None = None,
        tls_context: Any = None,
        lmtp: bool = False,
        max_connections: int = 0,
        max_from_ip: int = 0,
    ) -> None:
        self.dns = dns or MemoryResolver()
        self.threads = Held()
        self.services = make_services(config, self.dns, reactor)
        self.services.run_in_thread = self.threads
        self.clock: Clock = self.services.reactor
        # Its answers come as those of threads do, at once or when the test says so.
        self.services.store = MemoryStores(self.clock.seconds, call=self.threads)
        self.services.spool = spool or self.services.spool
        self.log: list[Event] = []
        self.services.log.observe(Level.DEBUG, self.log.append)
        self.registry = Registry(self.services)
        loader = loader or Loader(self.services.config)
        for number, given in enumerate(plugins, 1):
            line = Line(str(given), Path("plugins"), number)
            self.registry.add(given if isinstance(given, Plugin) else loader.load(line, self.services))
        if hooks:
            self.registry.add(Functions(self.services, hooks))
        if self.registry.has("logging"):
            start_logging(self.services.log, self.registry, self.services.config)
        self.engine = Engine(self.registry, self.services, now=lambda: START + self.clock.seconds())
        self.factory = SMTPFactory(
            self.clock,
            self.engine,
            tls_context=tls_context,
            lmtp=lmtp,
            max_connections=max_connections,
            max_from_ip=max_from_ip,
        )

    def connect(self, address: str = "192.0.2.1", *, port: int = 54321) -> Client:
        """Connect a client that comes from an address."""
        return Client(self, address, port)

    def advance(self, seconds: float) -> None:
        """Let time pass; unlike with the clock alone, what a call starts happens in its time as well."""
        for _ in self.turns(seconds):
            pass

    def turns(self, seconds: float) -> Iterator[float]:
        """Let time pass, and stop each time when something has happened, and at the end."""
        clock = self.clock
        end = clock.seconds() + seconds
        while due := [call.getTime() for call in clock.getDelayedCalls() if call.getTime() <= end]:
            clock.advance(max(min(due) - clock.seconds(), 0))
            yield clock.seconds()
        clock.advance(end - clock.seconds())
        yield end

    def logged(self, text: str) -> bool:
        """Tell whether a line of the log holds the text."""
        return any(text in str(event) for event in self.log)


class MemoryTransport(StringTransport):
    """A transport whose other end is the test.

    As with a real one, the protocol learns of the end in a later turn of the reactor: the clock's.
    """

    def loseConnection(self) -> None:
        """Close: the protocol has nothing more to say."""
        if not self.disconnecting:
            self.disconnecting = True
            self.clock.callLater(0, self.end)

    def abortConnection(self) -> None:
        """Cut."""
        self.loseConnection()

    def end(self, error: Exception | None = None) -> None:
        """Tell the protocol once that the connection is over."""
        if not self.disconnected:
            self.disconnected = True
            # As Twisted's do, for the two would keep each other in memory.
            protocol, self.protocol = self.protocol, None
            protocol.connectionLost(Failure(error or ConnectionDone()))

    disconnected = False
    protocol: Any = None
    clock: Clock


class Client:
    """A client's side of a connection to a `Server`."""

    def __init__(self, server: Server, address: str, port: int) -> None:
        kind = IPv6Address if ":" in address else IPv4Address
        local = "2001:db8::25" if ":" in address else "192.0.2.25"
        peer = kind("TCP", address, port)
        self.transport = MemoryTransport(kind("TCP", local, 25), peer)
        protocol = server.factory.buildProtocol(peer)
        self.transport.protocol = protocol
        self.transport.clock = server.clock
        protocol.makeConnection(self.transport)
        self.protocol = protocol

    @property
    def connection(self) -> Any:
        """The server's connection object."""
        return self.protocol.session.connection

    @property
    def closed(self) -> bool:
        """Tell whether the server, or the test, has closed the connection."""
        return self.transport.disconnecting or self.transport.disconnected

    def read(self) -> str:
        """Give what the server has said since the last time."""
        self.transport.clock.advance(0)
        octets: bytes = self.transport.value()
        self.transport.clear()
        return octets.decode("ascii")

    def send(self, octets: bytes) -> None:
        """Send octets as they are, in one segment."""
        if not self.closed:
            self.protocol.dataReceived(octets)
        self.transport.clock.advance(0)

    def say(self, *lines: str) -> str:
        """Send lines in one segment and give what the server says at once, without the last line end."""
        self.send("".join(line + "\r\n" for line in lines).encode())
        return self.read().removesuffix("\r\n")

    def mail(self, sender: str = "a@example.com", recipient: str = "b@example.org", text: str = "x") -> str:
        """Send a whole message; give the reply to its final dot, or the first refusal before."""
        said = self.say("EHLO client.example", f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA")
        refusal = re.search(r"^(?:[45][0-9]{2}-.*\n)*[45][0-9]{2} [^\r\n]*", said, re.MULTILINE)
        return refusal[0] if refusal else self.say(*text.split("\n"), ".")

    def half_close(self) -> None:
        """Say no more, and listen on."""
        if not self.closed:
            self.protocol.readConnectionLost()
        self.transport.clock.advance(0)

    def drop(self, error: Exception | None = None) -> None:
        """Vanish: close the connection, or break it off with an error."""
        self.transport.end(error)

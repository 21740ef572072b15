"""A network in memory with name servers on it: a clock, datagrams, streams, and what each server says."""

from collections.abc import Callable

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTCP, IReactorUDP
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.names import dns
from twisted.python.failure import Failure
from zope.interface import implementer

NS1, NS2 = ("192.0.2.53", 53), ("2001:db8::53", 5353)
SOA = dns.RRHeader("example.com", dns.SOA, ttl=900, payload=dns.Record_SOA(minimum=60))
Server = Callable[[dns.Message], dns.Message | bytes | None]


def record(name: str, payload, ttl: int = 300) -> dns.RRHeader:
    """Make a resource record."""
    return dns.RRHeader(name, payload.TYPE, ttl=ttl, payload=payload)


def saying(*answers: dns.RRHeader, rcode: int = dns.OK, authority=(), **fields) -> Server:
    """Make a recursing server that says the same whatever it is asked."""

    def server(query: dns.Message) -> dns.Message:
        reply = dns.Message(query.id, answer=1, recAv=1, rCode=rcode)
        reply.queries, reply.answers, reply.authority = query.queries, list(answers), list(authority)
        for name, value in fields.items():
            setattr(reply, name, value)
        return reply

    return server


def silent(query: dns.Message) -> None:
    """Be a server that never answers."""


class Port:
    """A UDP port: connected to one server, it remembers what was sent."""

    def __init__(self, network: "Network", protocol, interface: str) -> None:
        self.network, self.protocol, self.interface = network, protocol, interface
        self.server = None
        self.open = True

    def connect(self, host: str, port: int) -> None:
        self.server = (host, port)

    def write(self, datagram: bytes, addr=None) -> None:
        if self.network.broken:
            raise OSError("network is unreachable")
        self.network.sent.append((self, datagram))

    def stopListening(self) -> None:
        self.open = False
        self.protocol.doStop()


class Stream:
    """A TCP connection, or the attempt to make one."""

    def __init__(self, server, factory) -> None:
        self.server, self.factory = server, factory
        self.transport = StringTransport()
        self.protocol = None
        self.open = True

    def disconnect(self) -> None:
        self.open = False

    def accept(self) -> dns.Message:
        """Establish the connection; give the question that comes over it."""
        self.protocol = self.factory.buildProtocol(IPv4Address("TCP", *self.server))
        self.protocol.makeConnection(self.transport)
        return parse(self.transport.value()[2:])

    def lose(self) -> None:
        """Close the connection from the server's side."""
        self.protocol.connectionLost(Failure(ConnectionDone()))


@implementer(IReactorUDP, IReactorTCP)
class Network(Clock):
    """A reactor whose other end is a server per address."""

    def __init__(self, *servers: Server) -> None:
        super().__init__()
        self.servers = dict(zip((NS1, NS2), servers, strict=False))
        self.ports: list[Port] = []
        self.streams: list[Stream] = []
        self.sent: list[tuple[Port, bytes]] = []
        self.asked: list[tuple[str, dns.Query]] = []
        self.broken = False

    def listenUDP(self, port, protocol, interface="", maxPacketSize=8192) -> Port:
        listening = Port(self, protocol, interface)
        self.ports.append(listening)
        protocol.makeConnection(listening)
        return listening

    def connectTCP(self, host, port, factory, timeout=30, bindAddress=None) -> Stream:
        self.streams.append(Stream((host, port), factory))
        return self.streams[-1]

    def run(self) -> None:
        """Bring all datagrams to their servers, and back what these say."""
        while self.sent:
            port, datagram = self.sent.pop(0)
            query = parse(datagram)
            self.asked.append((port.server[0], query.queries[0]))
            reply = self.servers[port.server](query)
            if reply is not None and port.open:
                port.protocol.datagramReceived(octets(reply), port.server)

    def idle(self) -> bool:
        """Tell whether nothing is left: no timer, no open port, no open stream."""
        return not (self.getDelayedCalls() or any(i.open for i in [*self.ports, *self.streams]))


def parse(datagram: bytes) -> dns.Message:
    """Read a message."""
    message = dns.Message()
    message.fromStr(datagram)
    return message


def octets(message: dns.Message | bytes) -> bytes:
    """Write a message; one longer than its `maxSize` is cut and says so."""
    return message if isinstance(message, bytes) else message.toStr()


def framed(message: dns.Message | bytes) -> bytes:
    """Write a message as it goes over TCP."""
    text = octets(message)
    return len(text).to_bytes(2, "big") + text

"""A network in memory with name servers on it: a clock, datagrams, streams, and what each server says."""

from collections import deque
from collections.abc import Callable

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFDSet, IReactorTCP, IReadDescriptor
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.names import dns
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from qpsmtpd.kit import dns_exchange

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


class Socket:
    """A UDP socket: connected to one server, it must not block, nor be closed while the reactor knows it."""

    def __init__(self, network: "Network", family: int, kind: int) -> None:
        self.network, self.family, self.kind = network, family, kind
        self.number = len(network.sockets)
        self.arrived: deque[bytes | OSError] = deque()
        self.server = None
        self.open = self.blocking = True
        network.sockets.append(self)

    def fileno(self) -> int:
        return self.number if self.open else -1

    def setblocking(self, flag: bool) -> None:
        self.blocking = flag

    def connect(self, server) -> None:
        self.network.step("connect")
        self.server = server

    def send(self, datagram: bytes) -> None:
        assert self.open and self.server and not self.blocking
        self.network.step("send")
        self.network.sent.append((self, datagram))

    def recv(self, size: int) -> bytes:
        assert self.open and not self.blocking
        if not self.arrived:
            raise BlockingIOError
        datagram = self.arrived.popleft()
        if isinstance(datagram, OSError):
            raise datagram
        return datagram[:size]

    def close(self) -> None:
        assert self.number not in self.network.readers
        self.open = False

    def bring(self, *datagrams: bytes | OSError) -> None:
        """Let datagrams arrive, or errors; the reactor says so as long as it is asked to."""
        self.arrived.extend(datagrams)
        while self.arrived and self.number in self.network.readers:
            self.network.readers[self.number].doRead()

    def lose(self) -> None:
        """Let the reactor find an error on the socket, as epoll and poll do."""
        self.network.readers.pop(self.number).connectionLost(Failure(ConnectionDone()))


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


@implementer(IReactorFDSet, IReactorTCP)
class Network(Clock):
    """A reactor whose other end is a server per address."""

    def __init__(self, *servers: Server) -> None:
        super().__init__()
        self.servers = dict(zip((NS1, NS2), servers, strict=False))
        self.sockets: list[Socket] = []
        self.readers: dict[int, IReadDescriptor] = {}
        self.streams: list[Stream] = []
        self.sent: list[tuple[Socket, bytes]] = []
        self.asked: list[tuple[str, dns.Query]] = []
        self.broken = ""

    def step(self, name: str) -> None:
        """Fail where the network is broken."""
        if self.broken == name:
            raise OSError(name)

    def addReader(self, reader: IReadDescriptor) -> None:
        self.step("addReader")
        self.readers[reader.fileno()] = reader

    def removeReader(self, reader: IReadDescriptor) -> None:
        self.readers.pop(reader.fileno(), None)

    def connectTCP(self, host, port, factory, timeout=30, bindAddress=None) -> Stream:
        self.streams.append(Stream((host, port), factory))
        return self.streams[-1]

    def run(self) -> None:
        """Bring all datagrams to their servers, and back what these say."""
        while self.sent:
            socket, datagram = self.sent.pop(0)
            query = parse(datagram)
            self.asked.append((socket.server[0], query.queries[0]))
            reply = self.servers[socket.server](query)
            if reply is not None:
                socket.bring(octets(reply))

    def idle(self) -> bool:
        """Tell whether nothing is left: no timer, no reader, no open socket, no open stream."""
        kept = [i for i in (*self.sockets, *self.streams) if i.open]
        return not (self.getDelayedCalls() or self.readers or kept)


class NetworkTestCase(SynchronousTestCase):
    """A test that has a network."""

    def connect(self, *servers: Server) -> Network:
        """Make a network the one that sockets are opened on."""
        self.network = Network(*servers)
        self.patch(dns_exchange, "socket", lambda family, kind: Socket(self.network, family, kind))
        return self.network


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

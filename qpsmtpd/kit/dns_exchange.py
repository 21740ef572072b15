"""Ask name servers one question: over UDP, again while nobody answers, over TCP when the answer was cut.

Knows datagrams, streams and the header of a message; must not know what records mean, nor of any cache.
`twisted.names.client` is not used: a cancelled or reissued query of it leaves its timers behind, its TCP
queries outlast every limit, and it takes any answer that bears the right number. Its codec is. Nor is
`listenUDP`: it logs two lines for each port, and nothing turns that off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from socket import AF_INET, AF_INET6, SOCK_DGRAM, socket
from typing import Final

from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IDelayedCall,
    IReactorFDSet,
    IReactorTCP,
    IReactorTime,
    IReadDescriptor,
)
from twisted.internet.protocol import ClientFactory
from twisted.names import dns
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

UDP_PAYLOAD: Final = 1232  # octets that pass every path in one piece; announced with EDNS (RFC 6891)
MAX_DATAGRAM: Final = 8192  # octets read of one
FIRST_RETRY: Final = 1.0  # seconds until the question is sent again; each further wait is twice as long

_RCODES: Final = {
    dns.OK: "NOERROR",
    dns.EFORMAT: "FORMERR",
    dns.ESERVER: "SERVFAIL",
    dns.ENAME: "NXDOMAIN",
    dns.ENOTIMP: "NOTIMP",
    dns.EREFUSED: "REFUSED",
}
_DEFINITE: Final = (dns.OK, dns.ENAME)

Server = tuple[str, int]
Done = Callable[[dns.Message | None, str], None]


class Exchange:
    """One question to servers in turn, until one of them answers or the time is up.

    Calls `done` once, with the NOERROR or NXDOMAIN message and that word, or with None and what went
    wrong; never after `stop`. A server that was asked may answer until the end, even when others were
    asked since, so a slow one is not asked in vain.
    """

    __slots__ = ("_deadline", "_done", "_peers", "_retry", "_timeout", "_wait", "reactor")

    def __init__(
        self, reactor: IReactorTime, servers: Sequence[Server], query: dns.Query, timeout: float, done: Done
    ) -> None:
        """Prepare to ask; `servers` are addresses and ports, `timeout` limits the whole in seconds."""
        self.reactor = reactor
        self._timeout = timeout
        self._wait = FIRST_RETRY
        self._done = done
        self._peers = deque(_Peer(self, server, query) for server in servers)
        self._deadline: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None

    def start(self) -> None:
        """Ask the first server and start the clock."""
        self._deadline = self.reactor.callLater(self._timeout, self._finish, None, "timeout")
        self._ask_next()

    def stop(self) -> None:
        """Give up at once and leave nothing behind: no timer, no socket."""
        for call in (self._deadline, self._retry):
            if call is not None and call.active():
                call.cancel()
        while self._peers:
            self._peers.pop().close()

    def answered(self, message: dns.Message, detail: str) -> None:
        """Take the answer of a server as the result."""
        self._finish(message, detail)

    def failed(self, peer: _Peer, detail: str) -> None:
        """Ask the others when a server cannot answer; without others that is the result."""
        peer.close()
        self._peers.remove(peer)
        if not self._peers:
            self._finish(None, detail)
            return
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        self._wait = FIRST_RETRY
        self._ask_next()

    def _ask_next(self) -> None:
        peer = self._peers[0]
        self._peers.rotate(-1)
        self._retry = self.reactor.callLater(self._wait, self._ask_next)
        self._wait *= 2
        peer.ask()

    def _finish(self, message: dns.Message | None, detail: str) -> None:
        self.stop()
        self._done(message, detail)


class _Peer:
    """One server, asked from a port of its own: a guess must hit the number and the port (RFC 5452)."""

    __slots__ = ("_connector", "_datagrams", "_exchange", "_question", "_server")

    def __init__(self, exchange: Exchange, server: Server, query: dns.Query) -> None:
        self._exchange: Exchange | None = exchange
        self._server = server
        self._question = dns.Message(dns.randomSource(), recDes=1)
        self._question.queries = [query]
        self._question.additional = [dns.RRHeader(b"", dns.OPT, UDP_PAYLOAD)]
        self._datagrams: _Datagrams | None = None
        self._connector: IConnector | None = None

    def ask(self) -> None:
        """Send the question, or send it again; TCP needs no help."""
        if self._exchange is None or self._connector is not None:
            return
        try:
            if self._datagrams is None:
                self._datagrams = _Datagrams(IReactorFDSet(self._exchange.reactor), self._server, self)
            self._datagrams.send(self._question.toStr())
        except OSError:
            self.fail("unreachable")

    def close(self) -> None:
        """Hear nothing more and close what is open."""
        self._exchange = None
        if self._datagrams is not None:
            self._datagrams.close()
        if self._connector is not None:
            self._connector.disconnect()

    def fail(self, detail: str) -> None:
        """Report that this server cannot answer, unless that is settled."""
        if self._exchange is not None:
            self._exchange.failed(self, detail)

    def datagram_received(self, datagram: bytes) -> None:
        """Take the answer; whatever is not one is ignored, for the true one may still come."""
        if self._exchange is None or self._connector is not None:
            return
        message = self._reply(datagram)
        if message is None:
            return
        if message.trunc:
            factory = _StreamFactory(self)
            self._connector = IReactorTCP(self._exchange.reactor).connectTCP(*self._server, factory)
        elif message.rCode == dns.EFORMAT and self._question.additional:
            # RFC 6891 section 7: a server too old for EDNS does not understand the question.
            self._question.additional = []
            self.ask()
        else:
            self._judge(message)

    def connected(self, stream: Int16StringReceiver) -> None:
        """Ask again over TCP."""
        stream.sendString(self._question.toStr())

    def stream_received(self, octets: bytes) -> None:
        """Take the one message that a stream may bring."""
        message = self._reply(octets)
        if message is None or message.trunc:
            self.fail("malformed")
        else:
            self._judge(message)

    def _judge(self, message: dns.Message) -> None:
        if self._exchange is None:
            return
        detail = _RCODES.get(message.rCode, f"RCODE {message.rCode}")
        if message.rCode not in _DEFINITE:
            self.fail(detail)
        elif not (message.answers or message.recAv or message.auth):
            self.fail("referral")  # a server that does not recurse points elsewhere: that is no "none"
        else:
            self._exchange.answered(message, detail)

    def _reply(self, octets: bytes) -> dns.Message | None:
        """Read a reply to our question (RFC 5452 section 9.1); None if it is anything else."""
        message = dns.Message()
        try:
            message.fromStr(octets)
        except Exception:  # the decoders of rare records raise whatever hostile octets bring them to
            return None
        if message.id != self._question.id or not message.answer or message.opCode != dns.OP_QUERY:
            return None
        # Who refuses to read the question need not repeat it.
        silent = not message.queries and message.rCode not in _DEFINITE
        if message.queries != self._question.queries and not silent:
            return None
        # The codec keeps silent about records that the end of a message cut off.
        complete = len(message.answers) == int.from_bytes(octets[6:8], "big")
        return message if complete or message.trunc else None


@implementer(IReadDescriptor)
class _Datagrams:
    """UDP to one server: the kernel chooses the port at random and drops what others send."""

    __slots__ = ("_peer", "_reactor", "_socket")

    def __init__(self, reactor: IReactorFDSet, server: Server, peer: _Peer) -> None:
        """Open a port; raises OSError if there is none, or no way to the server."""
        self._reactor = reactor
        self._peer = peer
        self._socket = socket(AF_INET6 if ":" in server[0] else AF_INET, SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(server)
            reactor.addReader(self)
        except OSError:
            self._socket.close()
            raise

    def send(self, datagram: bytes) -> None:
        """Send a datagram; raises OSError if that is impossible or an earlier one was refused."""
        self._socket.send(datagram)

    def close(self) -> None:
        """Close the port, in this order: the reactor finds a descriptor by its number."""
        self._reactor.removeReader(self)
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "DNS"

    def doRead(self) -> None:
        try:
            datagram = self._socket.recv(MAX_DATAGRAM)
        except BlockingIOError:
            return  # it was there and is gone: its checksum was wrong
        except OSError:
            self._peer.fail("unreachable")  # nobody listens there
        else:
            self._peer.datagram_received(datagram)

    def connectionLost(self, reason: Failure) -> None:
        """Do the same when the reactor has seen the error first, as epoll and poll do."""
        self._peer.fail("unreachable")


class _StreamFactory(ClientFactory):
    noisy = False

    def __init__(self, peer: _Peer) -> None:
        self._peer = peer

    def buildProtocol(self, addr: IAddress | None) -> _Stream:
        return _Stream(self._peer)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._peer.fail("unreachable")


class _Stream(Int16StringReceiver):
    """DNS over TCP (RFC 7766); a message is at most 65535 octets."""

    def __init__(self, peer: _Peer) -> None:
        self._peer = peer

    def connectionMade(self) -> None:
        self._peer.connected(self)

    def stringReceived(self, string: bytes) -> None:
        self._peer.stream_received(string)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._peer.fail("connection lost")

"""How servers are asked: again, elsewhere, over TCP, and never longer than allowed."""

from socket import AF_INET, AF_INET6, SOCK_DGRAM

from twisted.internet import error
from twisted.names import dns
from twisted.python.failure import Failure

from qpsmtpd.kit.dns_exchange import Exchange

from .dnsnet import NS1, NS2, NetworkTestCase, Socket, framed, octets, record, saying, silent

HERE = record("example.com", dns.Record_A("192.0.2.1"))
LONG = record("example.com", dns.Record_TXT(*[b"x" * 200] * 30))
good = saying(HERE)


def altered(change):
    """Make a server whose reply is changed before it is sent."""

    def server(query):
        message = good(query)
        changed = change(message)
        return message if changed is None else changed

    return server


class ExchangeTestCase(NetworkTestCase):
    """An exchange on a network of servers."""

    def ask(self, *servers, timeout=5.0, broken=""):
        """Ask servers for the address of example.com; `results` has what came of it."""
        self.connect(*servers)
        self.network.broken = broken
        self.results = []
        query = dns.Query("Example.com", dns.A, dns.IN)
        addresses = [NS1, NS2][: len(servers)]
        self.exchange = Exchange(
            self.network,
            addresses,
            query,
            timeout,
            lambda message, detail: self.results.append((message, detail)),
        )
        self.exchange.start()
        self.network.run()

    def advance(self, seconds):
        self.network.advance(seconds)
        self.network.run()

    def details(self):
        """Give what came of it, by word; once it is over nothing may be left."""
        if self.results:
            self.assertTrue(self.network.idle())
        return [detail for message, detail in self.results]


class DatagramTests(ExchangeTestCase):
    """UDP, one server."""

    def test_question(self):
        """The question asks for recursion and says how long a datagram may be (RFC 6891)."""
        kept = []
        self.ask(kept.append)
        message, option = kept[0], kept[0].additional[0]
        self.assertEqual((1, 0, dns.OPT, 1232), (message.recDes, message.answer, option.type, option.cls))
        self.assertEqual([dns.Query("example.com", dns.A, dns.IN)], message.queries)
        self.exchange.stop()

    def test_answer(self):
        """NOERROR and NXDOMAIN are answers and come with the message."""
        for rcode, detail in ((dns.OK, "NOERROR"), (dns.ENAME, "NXDOMAIN")):
            self.ask(saying(rcode=rcode))
            self.assertEqual([detail], self.details())
            self.assertEqual(rcode, self.results[0][0].rCode)

    def test_refusal(self):
        """Any other code is a failure, by name, with or without the question in it."""
        rows = [(dns.ESERVER, "SERVFAIL"), (dns.ENOTIMP, "NOTIMP"), (dns.EREFUSED, "REFUSED"), (9, "RCODE 9")]
        for rcode, detail in rows:
            for fields in ({}, {"queries": []}):
                self.ask(saying(rcode=rcode, **fields))
                self.assertEqual([(None, detail)], self.results)
                self.assertTrue(self.network.idle())

    def test_referral(self):
        """A server that does not recurse and points elsewhere has not said "none"."""
        self.ask(saying(recAv=0))
        self.assertEqual(["referral"], self.details())
        self.ask(saying(recAv=0, auth=True))
        self.assertEqual(["NOERROR"], self.details())

    def test_silence(self):
        """The question is repeated after 1 and 3 seconds, given up after 5."""
        self.ask(silent)
        for seconds, asked, details in ((0.9, 1, []), (0.2, 2, []), (1.8, 2, []), (0.2, 3, []), (1.8, 3, [])):
            self.advance(seconds)
            self.assertEqual((asked, details), (len(self.network.asked), self.details()))
        self.advance(0.2)
        self.assertEqual(["timeout"], self.details())
        self.assertEqual(1, len(self.network.sockets))

    def test_time_limit(self):
        """The limit is that of the whole, also when it is shorter than the first wait."""
        self.ask(silent, silent, timeout=0.5)
        self.advance(0.5)
        self.assertEqual(["timeout"], self.details())

    def test_not_the_answer(self):
        """What is not the answer to the question is ignored, and the answer still taken."""
        rows = {
            "other number": lambda message: setattr(message, "id", message.id ^ 1),
            "a question": lambda message: setattr(message, "answer", 0),
            "a notification": lambda message: setattr(message, "opCode", 4),
            "other name": lambda message: setattr(message, "queries", [dns.Query("evil.example", dns.A)]),
            "other type": lambda message: setattr(message, "queries", [dns.Query("example.com", dns.MX)]),
            "other class": lambda message: setattr(
                message, "queries", [dns.Query("example.com", dns.A, dns.CH)]
            ),
            "no question": lambda message: setattr(message, "queries", []),
            "two questions": lambda message: setattr(message, "queries", message.queries * 2),
            "too short": lambda message: octets(message)[:11],
            "cut": lambda message: octets(message)[:-1],
            "nothing": lambda message: b"",
            "pointer loop": lambda message: octets(message)[:12] + b"\xc0\x0c" * 100,
        }
        for row, change in rows.items():
            self.ask(altered(change))
            self.assertEqual([], self.details(), row)
            self.network.servers[NS1] = good
            self.advance(1)
            self.assertEqual(["NOERROR"], self.details(), row)

    def test_nothing_there(self):
        """A socket that was said to be readable, and is not, is waited for."""
        kept = []
        self.ask(kept.append)
        self.network.readers[0].doRead()
        self.assertEqual([], self.details())
        self.network.sockets[0].bring(octets(good(kept[0])))
        self.assertEqual(["NOERROR"], self.details())

    def test_no_word_after_the_end(self):
        """Datagrams that come after the answer change nothing."""
        kept = []
        self.ask(kept.append)
        self.network.sockets[0].bring(*[octets(good(kept[0]))] * 2)
        self.assertEqual(["NOERROR"], self.details())

    def test_old_server(self):
        """RFC 6891: who does not understand the question with EDNS is asked without, and only once more."""

        def old(query):
            return saying(rcode=dns.EFORMAT, queries=[])(query) if query.additional else good(query)

        self.ask(old)
        self.assertEqual((["NOERROR"], 2), (self.details(), len(self.network.asked)))
        self.ask(saying(rcode=dns.EFORMAT))
        self.assertEqual((["FORMERR"], 2), (self.details(), len(self.network.asked)))


class ServersTests(ExchangeTestCase):
    """Several servers."""

    def test_first(self):
        """Only the first server is asked when it answers; over IPv6 a socket of that family is used."""
        self.ask(good, silent)
        self.assertEqual([NS1[0]], [server for server, query in self.network.asked])
        self.ask(silent, good)
        self.advance(1)
        kinds = [(socket.family, socket.kind) for socket in self.network.sockets]
        self.assertEqual([(AF_INET, SOCK_DGRAM), (AF_INET6, SOCK_DGRAM)], kinds)
        self.assertEqual(["NOERROR"], self.details())

    def test_unable(self):
        """A server that cannot answer is left at once for the next; the last one's word is the result."""
        self.ask(saying(rcode=dns.ESERVER), good)
        self.assertEqual(["NOERROR"], self.details())
        self.ask(saying(rcode=dns.ESERVER), saying(rcode=dns.EREFUSED))
        self.assertEqual(["REFUSED"], self.details())

    def test_all_broken(self):
        """Without a network all fails at once, at whatever step that shows."""
        for step in ("connect", "addReader", "send"):
            self.ask(silent, silent, broken=step)
            self.assertEqual((["unreachable"], 2), (self.details(), len(self.network.sockets)))

    def test_nobody_listens(self):
        """A refused datagram sends the question on, whether it is read or the reactor sees it first."""
        for tell in (lambda socket: socket.bring(ConnectionRefusedError()), Socket.lose):
            self.ask(silent, good)
            tell(self.network.sockets[0])
            self.network.run()
            self.assertEqual(["NOERROR"], self.details())

    def test_rotation(self):
        """Silent servers are asked in turn."""
        self.ask(silent, silent)
        self.advance(1)
        self.advance(2)
        self.assertEqual([NS1[0], NS2[0], NS1[0]], [server for server, query in self.network.asked])
        self.exchange.stop()

    def test_slow_server(self):
        """A server may still answer after another was asked."""
        kept = []
        self.ask(kept.append, silent)
        self.advance(1)
        self.network.sockets[0].bring(octets(good(kept[0])))
        self.assertEqual(["NOERROR"], self.details())

    def test_stop(self):
        """Nothing is left and nothing is said after a stop, at whatever moment."""
        for seconds in (0, 1, 3, 4.9):
            self.ask(silent, silent)
            self.advance(seconds)
            self.exchange.stop()
            self.assertTrue(self.network.idle())
            self.assertEqual([], self.results)


class StreamTests(ExchangeTestCase):
    """TCP, after an answer that was cut."""

    def setUp(self):
        self.ask(saying(LONG))
        self.stream = self.network.streams[0]

    def test_answer(self):
        """The same question is asked of the same server, and the answer taken in whatever pieces."""
        question = self.stream.accept()
        self.assertEqual((NS1, self.network.asked[0][1]), (self.stream.server, question.queries[0]))
        for octet in framed(saying(LONG, maxSize=0)(question)):
            self.assertEqual([], self.results)
            self.stream.protocol.dataReceived(bytes([octet]))
        self.assertEqual(["NOERROR"], self.details())
        self.assertEqual([b"x" * 200] * 30, self.results[0][0].answers[0].payload.data)

    def test_no_use(self):
        """A stream that breaks, or brings what is no answer, is a failure of that server."""

        def lose(question):
            self.stream.lose()

        def bring(change):
            def answer(question):
                message = good(question)
                change(message)
                self.stream.protocol.dataReceived(framed(message))

            return answer

        rows = [
            (lose, "connection lost"),
            (bring(lambda message: setattr(message, "id", message.id ^ 1)), "malformed"),
            (bring(lambda message: setattr(message, "trunc", 1)), "malformed"),
            (bring(lambda message: setattr(message, "rCode", dns.ESERVER)), "SERVFAIL"),
        ]
        for happen, detail in rows:
            self.setUp()
            happen(self.stream.accept())
            self.assertEqual([detail], self.details())

    def test_no_connection(self):
        """If the server takes no connection, the next is asked."""
        self.ask(saying(LONG), good)
        stream = self.network.streams[0]
        stream.factory.clientConnectionFailed(stream, Failure(error.ConnectionRefusedError()))
        self.network.run()
        self.assertEqual(["NOERROR"], self.details())

    def test_datagrams_meanwhile(self):
        """Once the stream is asked, datagrams are neither sent to the server nor taken from it."""
        kept = []
        self.ask(kept.append)
        self.network.sockets[0].bring(*[octets(saying(LONG)(kept[0]))] * 2)
        self.advance(4)
        self.assertEqual(([], 1, 1), (self.details(), len(self.network.asked), len(self.network.streams)))
        self.exchange.stop()

    def test_silence(self):
        """The time limit holds for TCP, before and after the connection is made."""
        self.advance(5)
        self.assertEqual(["timeout"], self.details())
        self.setUp()
        self.stream.accept()
        self.advance(5)
        self.assertEqual(["timeout"], self.details())

    def test_stop(self):
        """A stop closes the stream; what comes after it is ignored."""
        question = self.stream.accept()
        self.exchange.stop()
        self.assertTrue(self.network.idle())
        self.stream.protocol.dataReceived(framed(good(question)) * 2)
        self.stream.lose()
        self.assertEqual([], self.results)

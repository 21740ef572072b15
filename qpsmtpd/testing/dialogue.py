"""SMTP dialogues as text files, played against a server without a socket, in segments of any size.

A file begins with the server's making, a line each, and goes on with the dialogue:

    plugin LINE            load a plugin, as config/plugins would
    config NAME: VALUE     a setting; repeat it for several lines
    hook NAME: VERDICT     a plugin that answers; see VERDICTS in this module
    dns NAME TYPE VALUE    a record; `dns NAME failed` and `dns NAME silent` are names without answer
    client ADDRESS         where the client comes from
    option NAME: VALUE     max_connections or max_from_ip
    lmtp                   the client speaks LMTP

    C: text                the client sends a line; lines that follow each other go out in one segment
    C! octets              the client sends octets as they are, with Python's escapes
    S: text                the server says exactly this; `...` in it stands for any text
    L: text                the log holds this text
    wait SECONDS           the clock advances
    drop                   the client vanishes
    half-close             the client shuts its side and listens on
    closed                 the server has closed the connection
    new                    another client connects

Lines that begin with # are comments.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from ..config import Config
from ..factory import Functions
from ..loader import Loader
from ..outcome import OUTCOMES, Outcome
from ..transaction import Transaction
from .dns import MemoryResolver
from .server import Client, Server

HEADINGS = ("plugin", "config", "hook", "dns", "client", "option", "lmtp")


class DialogueError(AssertionError):
    """The server did not say what the dialogue expects; the text shows both, with the line."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the dialogue: its kind (the word or letter it begins with), text and line number."""

    kind: str
    text: str
    number: int


@dataclass(slots=True)
class Dialogue:
    """A parsed dialogue."""

    name: str
    headings: list[tuple[str, str]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    loader: Loader | None = None  # all servers of one dialogue load the same plugins

    def of(self, kind: str) -> list[str]:
        """Give the texts of one kind of heading."""
        return [text for heading, text in self.headings if heading == kind]

    @property
    def address(self) -> str:
        """Where the client comes from."""
        return (self.of("client") or ["192.0.2.1"])[0]

    def server(self, spool: Path | None = None) -> Server:
        """Make the server that the headings describe."""
        config: dict[str, list[str]] = {}
        for text in self.of("config"):
            name, _, value = text.partition(":")
            config.setdefault(name.strip(), []).append(value.strip())
        dns = _records(self.of("dns"))
        self.loader = self.loader or Loader(Config((), config))
        server = Server(
            self.of("plugin"),
            config=config,
            dns=dns,
            spool=spool,
            loader=self.loader,
            lmtp=bool(self.of("lmtp")),
        )
        for name, _, value in (text.partition(":") for text in self.of("option")):
            setattr(server.factory, name.strip(), int(value))
        for text in self.of("hook"):
            add_hook(server, text)
        return server


def parse(text: str, name: str = "dialogue") -> Dialogue:
    """Parse a dialogue; ValueError names the line that is none."""
    dialogue = Dialogue(name)
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if match := re.fullmatch(r"([CSL]:|C!) ?(.*)", line):
            dialogue.steps.append(Step(match[1].removesuffix(":"), match[2], number))
            continue
        kind, _, rest = line.strip().partition(" ")
        if kind in HEADINGS and not dialogue.steps:
            dialogue.headings.append((kind, rest))
        elif kind in ("wait", "drop", "half-close", "closed", "new"):
            dialogue.steps.append(Step(kind, rest, number))
        else:
            raise ValueError(f"{name}:{number}: not a line of a dialogue: {line}")
    return dialogue


def load(path: Path) -> Dialogue:
    """Parse a dialogue's file."""
    return parse(path.read_text(), path.name)


Cut = Callable[[bytes], list[bytes]]
"""Splits what the client sends at once into segments."""


def _whole(octets: bytes) -> list[bytes]:
    return [octets]


def play(dialogue: Dialogue, cut: Cut = _whole) -> Server:
    """Play a dialogue, in the segments that ``cut`` makes of what the client sends at once."""
    server = dialogue.server()
    client = server.connect(dialogue.address)
    heard: list[str] = []
    for step, octets in segments(dialogue.steps):
        if octets is not None:
            _expect_silence(dialogue, step, client, heard)
            for piece in cut(octets):
                client.send(piece)
        elif step.kind == "new":
            client = server.connect(dialogue.address)
        else:
            _take(dialogue, step, server, client, heard)
    _expect_silence(dialogue, Step("end", "", dialogue.steps[-1].number), client, heard)
    return server


def whole_and_split(dialogue: Dialogue) -> Iterator[Cut]:
    """Give the ways to cut a dialogue: not at all, at every octet, and each segment at each place in turn.

    All segments are cut at once, each at its own place: between them the server has answered.
    """
    yield _whole
    yield lambda octets: [octets[at : at + 1] for at in range(len(octets))]
    longest = max((len(octets) for _, octets in segments(dialogue.steps) if octets), default=0)
    for place in range(1, longest):
        yield lambda octets, place=place: list(filter(None, (octets[:place], octets[place:])))  # type: ignore[misc]


def segments(steps: list[Step]) -> Iterator[tuple[Step, bytes | None]]:
    """Give each step, and what the client sends in one segment at the first of its lines."""
    pending: list[Step] = []
    for step in steps:
        if step.kind in ("C", "C!"):
            pending.append(step)
            continue
        if pending:
            yield pending[0], b"".join(map(_octets, pending))
            pending = []
        yield step, None
    if pending:
        yield pending[0], b"".join(map(_octets, pending))


def _octets(step: Step) -> bytes:
    if step.kind == "C":
        return step.text.encode() + b"\r\n"
    return bytes(codecs.escape_decode(step.text.encode())[0])


def _take(dialogue: Dialogue, step: Step, server: Server, client: Client, heard: list[str]) -> None:
    """Do or check what a step that sends nothing says."""
    heard += client.read().splitlines()
    match step.kind:
        case "S":
            said = heard.pop(0) if heard else "(nothing)"
            pattern = ".*".join(re.escape(part) for part in step.text.split("..."))
            if not re.fullmatch(pattern, said):
                _fail(dialogue, step, f"S: {step.text}", said)
        case "L":
            if not server.logged(step.text):
                shown = "\n".join(str(event) for event in server.log[-20:])
                _fail(dialogue, step, f"L: {step.text}", shown)
        case "wait":
            server.advance(float(step.text))
        case "drop":
            client.drop()
        case "half-close":
            client.half_close()
        case "closed":
            if not client.closed:
                _fail(dialogue, step, "closed", "an open connection")


def _expect_silence(dialogue: Dialogue, step: Step, client: Client, heard: list[str]) -> None:
    heard += client.read().splitlines()
    if heard:
        _fail(dialogue, step, "nothing more from the server", heard[0])


def _fail(dialogue: Dialogue, step: Step, expected: str, got: str) -> None:
    raise DialogueError(f"{dialogue.name}:{step.number}:\n  expected {expected}\n  got      {got}")


def _records(lines: list[str]) -> MemoryResolver:
    records: dict[str, dict[str, list[Any]]] = {}
    marked: dict[str, set[str]] = {"failed": set(), "silent": set()}
    for line in lines:
        name, kind, *value = line.split(maxsplit=2)
        if kind in marked:
            marked[kind].add(name)
            continue
        values = records.setdefault(name, {}).setdefault(kind, [])
        if kind == "MX":
            preference, host = value[0].split()
            values.append((int(preference), host))
        else:
            values.append(value[0])
    return MemoryResolver(records, failed=marked["failed"], silent=marked["silent"])


def add_hook(server: Server, text: str) -> None:
    """Add a plugin that answers one hook: ``rcpt: OK``, ``mail: after 3 DENY no``, ``queue: raise``.

    ``queue: for a@b DENYSOFT full; for c@d OK; DENY no`` answers for single recipients first.
    """
    names, _, verdict = text.partition(":")
    name, _, options = names.strip().partition(" ")
    *single, verdict = verdict.split("; ")
    decide = VERDICTS(verdict.strip(), server.clock)
    functions = Functions(server.services, {name: _answering(single, decide) if single else decide})
    for option in options.split():
        key, _, value = option.partition("=")
        setattr(functions, key, float(value) if value.replace(".", "").isdigit() else value)
    server.registry.add(functions)


def _answering(single: list[str], decide: Callable[[], Any]) -> Callable[[Transaction], Any]:
    """Make the function of a hook that answers for recipients, those that are there, and then for all."""

    def answer(transaction: Transaction) -> Any:
        for text in single:
            _, mailbox, word, *rest = text.split(maxsplit=3)
            for recipient in transaction.recipients:
                if recipient.address.mailbox == mailbox:
                    transaction.answer(recipient, OUTCOMES[word](*rest))
        return decide()

    return answer


def VERDICTS(text: str, clock: Clock) -> Callable[[], Any]:
    """Make the function that a ``hook`` line describes.

    An outcome's name and text; ``after SECONDS`` before it answers later; ``never`` never answers;
    ``raise TEXT`` fails; ``rubbish`` returns what is no outcome.
    """
    word, _, rest = text.partition(" ")

    def fail() -> None:
        raise RuntimeError(rest)

    match word:
        case "after":
            seconds, _, verdict = rest.partition(" ")
            return lambda: deferLater(clock, float(seconds), VERDICTS(verdict, clock))
        case "never":
            return Deferred
        case "raise":
            return fail
        case "rubbish":
            return object
    outcome: Outcome = OUTCOMES[word](rest)
    return lambda: outcome

"""Deliver into Maildirs.

``queue/maildir DIRECTORY [TEMPLATE [MODE]] [crlf]``

DIRECTORY is one Maildir for all mail. With a TEMPLATE each recipient has a Maildir below DIRECTORY:
``%d/%l`` is domain and local part, ``%u`` the address. A domain is taken in lower case; other
characters than letters, digits and ``-+_.,@=`` become ``_`` in ASCII, else ``=XX`` for each octet of
UTF-8. A recipient without domain is in the domain of ``me``. MODE is that of new directories, three
octal digits, the first 7 (default 700); files lack its execute bits, whatever the umask.

A message is written to ``tmp`` and synced, moved to ``new``, and the directory synced, before the
client is told 250. With several copies all are written before the first is moved, and if anything
fails none stays. A kill at any moment leaves each copy whole or absent. A delivery whose client has
gone, or whose time is over, is dropped as long as it is not moved. Directories are made when they are
missing; what a killed server left in ``tmp`` is removed at the start, 36 hours later.

Messages that wait at the same time are synced together, which spares most of the directory's syncs;
one that is in a spool file, since it is large, goes by itself, and nobody waits for it.

Where each recipient is answered by itself (LMTP, PRDR), a Maildir of a template that fails is a refusal
of its recipient only.

On top of the message are ``Return-Path`` (one that was there is dropped) and ``Delivered-To``: in a
Maildir of a template for its recipient, else for each one, the last on top. Lines end with LF, as
Maildir readers expect, else the message is what the client sent, octet by octet; with ``crlf`` they end
as they were sent. So do those of a message with BODY=BINARYMIME, in which a LF may be anything.

Hooks: queue. Replies: ``250 Queued! MESSAGE-ID``, 452 4.3.1 when the disk is full, 452 4.3.0 for other
failures, 552 5.1.3 for a recipient whose directory would be ``.`` or ``..``. Log: ``pass, FILE`` for
one copy, ``pass, N copies`` for several, or ``error, ...``.

Differences from upstream: bad arguments stop the start; any failure delays the message, where upstream
went on to the next queue plugin or told 250; nothing is stored twice when one copy fails; the domain's
case does not matter.
"""

import errno
import re
from collections.abc import Mapping
from pathlib import Path

from twisted.python.failure import Failure

from qpsmtpd import OK, Address, Outcome, Plugin, Setting, SettingError, Transaction, dsn
from qpsmtpd.kit.batches import Batches
from qpsmtpd.kit.maildir import make_maildir, remove_stale
from qpsmtpd.kit.maildirdelivery import Delivery, deliver

RETURN_PATH = re.compile(rb"^return-path[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE)
MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")
UNSAFE = re.compile(r"[^-A-Za-z0-9+_.,@=]")
MAX_BATCH = 50  # messages stored together
NO_DIRECTORY = dsn.addr_bad_dest_syntax("a recipient's address cannot be a directory")


class Maildir(Plugin):
    """Deliver into one Maildir, or into one for each recipient."""

    directory = Setting.path(position=True, required=True, help="the Maildir, or what the template is below")
    template = Setting.text(
        position=True,
        pattern=r"(?=.*%[dlu])(?:[-A-Za-z0-9+_.,@=/]|%[dlu])+",
        allowed="a path with %l, %d or %u",
        help="a Maildir for each recipient: local part, domain, address",
    )
    mode = Setting.text(
        "700",
        position=True,
        pattern="7[0-7]{2}",
        allowed="an octal mode from 700 to 777",
        help="mode of new directories",
    )
    crlf = Setting.switch(help="keep CRLF at the ends of lines")

    def register(self) -> None:
        """Check the arguments; directories are made when the server runs, as its user."""
        self.base = self.directory.expanduser().absolute()
        if self.base.exists() and not self.base.is_dir():
            raise SettingError(f"{self.base} is not a directory")
        self.parts = [part for part in self.template.split("/") if part]
        if {".", ".."} & set(self.parts):
            raise SettingError(f"template {self.template!r} has a component that is . or ..")
        self.batches = Batches(self.run_in_thread, deliver, MAX_BATCH)
        self.clock.callLater(0, self.start)

    def start(self) -> None:
        """Make the Maildir and remove old files; what fails will fail again with the first message."""

        def report(removed: int | Failure) -> None:
            if isinstance(removed, Failure):
                self.log.error("error, cannot prepare %s: %s", self.base, removed.getErrorMessage())
            elif removed:
                self.log.notice("removed %d files of dead deliveries below %s", removed, self.base)

        self.run_in_thread(self.prepare).addBoth(report)

    def prepare(self) -> int:
        """Do what blocks in `start`; tell how many files were removed."""
        if not self.parts:
            make_maildir(self.base, int(self.mode, 8))
        pattern = "/".join([*(re.sub("%[dlu]", "*", part) for part in self.parts), "tmp"])
        return sum(map(remove_stale, self.base.glob(pattern)))

    async def hook_queue(self, transaction: Transaction) -> Outcome:
        """Deliver; the message stays as it is."""
        assert transaction.header is not None
        assert transaction.body is not None
        each = bool(self.parts) and not transaction.all_or_none
        copies = self.copies(transaction)
        nowhere = [one for one in transaction.recipients if self.parts and one.address not in copies]
        if nowhere and not each:
            return NO_DIRECTORY
        for recipient in nowhere:
            transaction.answer(recipient, NO_DIRECTORY)
        header = RETURN_PATH.sub(b"", bytes(transaction.header)) + b"\r\n"
        # Opened here: the spool file may be gone when the thread begins.
        body, crlf = transaction.body.open(), self.crlf or transaction.binary
        mode = int(self.mode, 8)
        delivery = Delivery(list(copies.values()), header, body, mode=mode, crlf=crlf, each=each)
        try:
            if transaction.body.spooled:
                await self.run_in_thread(deliver, [delivery])
            else:
                await self.batches.add(delivery)
        except BaseException:  # the time is over, or the client gone
            delivery.abandon()
            raise
        results = dict(zip(copies, delivery.results, strict=True))
        files = [result for result in results.values() if isinstance(result, str)]
        failed = {address: result for address, result in results.items() if isinstance(result, OSError)}
        if failed and not each:
            return self.refusal(next(iter(failed.values())))
        self.answer_failures(transaction, failed)
        if files:
            self.log.info("pass, %s", files[0] if len(files) == 1 else f"{len(files)} copies")
        known = MESSAGE_ID.search(transaction.header.get("Message-Id"))
        return OK(f"Queued! {known[0]}" if known else "Queued!")

    def answer_failures(self, transaction: Transaction, failed: Mapping[Address | None, OSError]) -> None:
        """Refuse those whose Maildir has failed."""
        refusals = {address: self.refusal(error) for address, error in failed.items()}
        for recipient in transaction.recipients:
            if recipient.address in refusals:
                transaction.answer(recipient, refusals[recipient.address])

    def refusal(self, error: OSError) -> Outcome:
        """Say that a delivery has failed; only the log is told why."""
        self.log.warn("error, cannot deliver: %s", error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return dsn.sys_disk_full()
        return dsn.sys_unspecified("the message could not be stored, please try again later")

    def copies(self, transaction: Transaction) -> dict[Address | None, tuple[Path, bytes]]:
        """Give each copy's Maildir and what is written on top; for all, or for each that may be."""
        lines = f"Return-Path: {transaction.reverse_path.path}\r\n".encode("utf-8", "surrogateescape")
        addresses = list(dict.fromkeys(recipient.address for recipient in transaction.recipients))
        if not self.parts:
            lines += b"".join(delivered_to(address) for address in reversed(addresses))
            return {None: (self.base, lines)}
        found = ((address, self.mailbox(address)) for address in addresses)
        return {address: (path, lines + delivered_to(address)) for address, path in found if path}

    def mailbox(self, address: Address) -> Path | None:
        """Give the Maildir of a recipient, None if it would be another directory than the template says."""
        local, domain = safe(address.local), safe((address.domain or self.config.value("me")).lower())
        values = {"l": local, "d": domain, "u": f"{local}@{domain}"}
        parts = [re.sub("%([dlu])", lambda match: values[match[1]], part) for part in self.parts]
        return None if {"", ".", ".."} & set(parts) else self.base.joinpath(*parts)


def delivered_to(address: Address) -> bytes:
    """Write the field that names a recipient."""
    return f"Delivered-To: {address.mailbox}\r\n".encode("utf-8", "surrogateescape")


def safe(text: str) -> str:
    """Make a part of an address fit for a file's name."""

    def replacement(match: re.Match[str]) -> str:
        char = match[0]
        return "_" if char.isascii() else "".join(f"={octet:02X}" for octet in char.encode())

    return UNSAFE.sub(replacement, text)

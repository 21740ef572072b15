"""``qpsmtpd check``: say what is wrong with a configuration directory before the server does."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from stat import S_IMODE
from typing import Any

from twisted.internet.endpoints import serverFromString

from ..building import Built
from ..config import Config, ConfigError, Line
from ..corefiles import doubts, read_spool_mode, read_workers, spool_trouble, store_trouble
from ..kit.place import directory_trouble, place_trouble
from ..kit.store import StoreError
from ..listening import ALLOWED, KINDS, PROXY, endpoint_description, read_listener
from ..loader import home_path
from ..mechanisms import MECHANISMS
from . import calls, reading
from .finding import Finding, Findings, shown, summary
from .rehearsal import Rehearsal, rehearse

HELP = "load a configuration as the server would, and list every mistake"
INTERFACE = re.compile(
    r"(?:haproxy:)?tcp6?:(?P<port>[0-9]+)(?::interface=(?P<address>(?:\\:|[0-9A-Fa-f.])+))?(?::.*)?"
)


def run(arguments: Namespace) -> int:
    """Print all findings and their number; 1 if there is an error."""
    findings = check(arguments.directories)
    for finding in findings:
        print(finding)
    print(f"{shown(arguments.directories[0])}: {summary(findings)}")
    return int(any(finding.is_error for finding in findings))


def check(directories: Sequence[Path]) -> list[Finding]:
    """Look at everything in a configuration."""
    rehearsal = rehearse(directories)
    built = rehearsal.built
    findings = Findings(built.config)
    for error in built.errors:
        findings.add_exception(error)
    _hear(findings, rehearsal)
    for doubt in doubts(built.config, _workers(built.config)):
        findings.add_exception(doubt, is_error=False)
    _check_plugin_dirs(findings, rehearsal)
    _check_listeners(findings, rehearsal)
    _check_mechanisms(findings, rehearsal)
    _check_spool(findings, rehearsal)
    _check_store(findings, built)
    calls.check(findings, built)
    reading.check(findings, built)
    return findings.sorted()


def _hear(findings: Findings, rehearsal: Rehearsal) -> None:
    """Take over what plugins, lists and certificates have to say."""
    built = rehearsal.built
    for report in [*rehearsal.reports, *(built.tls.warnings() if built.tls else ())]:
        findings.add_located(report, built.config.directories[0], is_error=False)
    for event, line in rehearsal.events:
        findings.add_located(event.text, line or built.config.directories[0], is_error=False)


def _workers(config: Config) -> int:
    try:
        return read_workers(config)
    except ConfigError:  # reported with the files of the engine
        return 1


def _check_plugin_dirs(findings: Findings, rehearsal: Rehearsal) -> None:
    for line in _lines(rehearsal, "plugin_dirs"):
        try:
            found = home_path(line.text, line).is_dir()
        except ConfigError:  # reported with the plugins, which it keeps from being found
            continue
        except OSError:  # such a name is impossible
            found = False
        if not found:
            findings.warn(f"{line.text}: there is no such directory", line)


def _check_listeners(findings: Findings, rehearsal: Rehearsal) -> None:
    for name in KINDS:
        for line in _lines(rehearsal, name):
            try:
                listener = read_listener(line.text, name)
            except ValueError as error:
                findings.add(str(error), line)
                continue
            if trouble := endpoint_trouble(rehearsal.reactor, listener.description):
                findings.add(f"{line.text!r} is no address to listen on: {trouble}", line)
            if listener.description.startswith(PROXY) and not rehearsal.built.config.lines("trusted_proxies"):
                findings.add("nobody may connect here: trusted_proxies is empty", line)
            tls = rehearsal.built.services.tls
            if listener.needs_tls and tls is None:
                findings.add("TLS is wanted here, but no plugin has a certificate: load tls", line)
            if listener.client in ("ask", "require") and tls is not None and tls.client_ca is None:
                findings.add(f"client={listener.client} needs client_ca on the line of the plugin tls", line)


def _check_mechanisms(findings: Findings, rehearsal: Rehearsal) -> None:
    for line in _lines(rehearsal, "auth_mechanisms"):
        for word in line.text.split():
            if word.upper() not in MECHANISMS:
                findings.warn(f"{word!r} is never offered; there are {', '.join(MECHANISMS)}", line)


def _check_spool(findings: Findings, rehearsal: Rehearsal) -> None:
    config, spool = rehearsal.built.config, rehearsal.built.services.spool
    try:
        wanted = read_spool_mode(config)
        found = spool.stat()
        trouble = directory_trouble(spool)
    except ConfigError:  # reported with the files of the engine
        return
    except FileNotFoundError:  # made at the start
        found, trouble = None, place_trouble(spool)
    except OSError as error:
        found, trouble = None, f"{spool}: {error.strerror}"
    if trouble:
        findings.add_exception(spool_trouble(config, trouble))
    elif found is not None and S_IMODE(found.st_mode) != wanted:
        findings.warn(
            f"{spool} has the permissions {S_IMODE(found.st_mode):o}, not {wanted:o}", "spool_perms"
        )


def _check_store(findings: Findings, built: Built) -> None:
    try:
        built.services.store.look()
    except StoreError as error:
        findings.add_exception(store_trouble(built.config, error))


def endpoint_trouble(reactor: Any, text: str) -> str:
    """Tell why it is impossible to listen there, "" if it is not."""
    description = endpoint_description(text)
    try:
        serverFromString(reactor, description)
        match = INTERFACE.fullmatch(description)
        if match and int(match["port"]) > 65535:
            return "a port is 65535 at most"
        if match and match["address"]:
            ip_address(match["address"].replace("\\", ""))
    except Exception as error:  # a parser of endpoints may raise anything
        return f"{error}; {ALLOWED}"
    return ""


def _lines(rehearsal: Rehearsal, name: str) -> Sequence[Line]:
    try:
        return rehearsal.built.config.numbered(name)
    except ConfigError:  # reported with the files of the engine
        return ()

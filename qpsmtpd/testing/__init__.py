"""The test kit: a server without a socket, plugins one by one, dialogues in files, fake DNS and time."""

from .dialogue import Dialogue, DialogueError, load, parse, play, whole_and_split
from .dns import MemoryResolver
from .gate import GateError, play_disconnects
from .plugins import Tried
from .server import Client, Server, make_services

__all__ = [
    "Client",
    "Dialogue",
    "DialogueError",
    "GateError",
    "MemoryResolver",
    "Server",
    "Tried",
    "load",
    "make_services",
    "parse",
    "play",
    "play_disconnects",
    "whole_and_split",
]

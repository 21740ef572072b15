"""The test kit: a server without a socket, plugins one by one, dialogues in files, fake DNS and time."""

from .dialogue import Dialogue, DialogueError, load, parse, play, whole_and_split
from .dns import MemoryResolver
from .plugins import Tried
from .server import Client, Server, make_services

__all__ = [
    "Client",
    "Dialogue",
    "DialogueError",
    "MemoryResolver",
    "Server",
    "Tried",
    "load",
    "make_services",
    "parse",
    "play",
    "whole_and_split",
]

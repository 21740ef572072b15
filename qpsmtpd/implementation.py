"""One plugin's method for one hook, ready to be called with the arguments that the hook offers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from .hooks import Hook
from .plugin import Plugin
from .setting import SettingError


class Implementation:
    """One plugin's method for one hook, ready to be called with the hook's arguments as a tuple."""

    __slots__ = ("call", "hook", "log_name", "plugin")

    def __init__(self, hook: Hook, plugin: Plugin, method: Callable[..., Any]) -> None:
        self.hook = hook.name
        self.plugin = plugin
        self.log_name = plugin.log_name
        self.call = adapt(hook, method)


def adapt(hook: Hook, method: Callable[..., Any]) -> Callable[[tuple[Any, ...]], Any]:
    """Make a function that picks from a hook's arguments those that the method names.

    Raises SettingError, with the arguments on offer, when the method wants another one.
    """
    wanted = []
    parameters = inspect.signature(method).parameters
    for parameter in parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            return lambda arguments: method(**dict(zip(hook.arguments, arguments, strict=True)))
        if parameter.name in hook.arguments:
            wanted.append(hook.arguments.index(parameter.name))
        elif parameter.default is parameter.empty:
            raise SettingError(
                f"{hook.method} asks for {parameter.name!r}; the hook offers {', '.join(hook.arguments)}"
            )
    names = [hook.arguments[index] for index in wanted]
    by_keyword = any(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in names)
    if by_keyword or list(parameters)[: len(names)] != names:
        return lambda arguments: method(**{hook.arguments[i]: arguments[i] for i in wanted})
    match wanted:
        case []:
            return lambda _: method()
        case [only]:
            return lambda arguments: method(arguments[only])
        case _:
            pick = itemgetter(*wanted)
            return lambda arguments: method(*pick(arguments))

"""From a line of config/plugins to a plugin: find the file, load the class, read the arguments.

Whatever is wrong becomes one ConfigError with the file and line of the configuration, and with those of
the plugin where that is where the mistake is.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import site
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

from .config import Config, ConfigError, Line
from .hooks import HOOKS, METHODS
from .implementation import Implementation
from .plugin import GIVEN, Plugin, Services
from .setting import SettingError, read_arguments, settings_of, split_words

_loader: ContextVar[Loader] = ContextVar("_loader")
"""The loader at work, so that a plugin's file can ask for its parent while it is being loaded."""


_OURS = (
    __file__,
    importlib.__file__,
    "<frozen importlib._bootstrap>",
    "<frozen importlib._bootstrap_external>",
)
"""Files that stand in the traceback of every plugin's error."""


INSTANCE = re.compile(r":[0-9]+$")
"""What tells a second instance from the first: ``name:1``."""


def shipped(directory: str) -> Path:
    """Find a directory that is shipped beside the package: next to a checkout, else where pip put it."""
    beside = Path(__file__).resolve().parent.parent / directory
    if (beside.parent / "setup.cfg").exists() and beside.is_dir():
        return beside
    bases = [base for base in (sysconfig.get_path("data"), site.getuserbase()) if base]
    found = [Path(base, "share/qpsmtpd", directory) for base in bases]
    return next((path for path in found if path.is_dir()), found[0])


class Loader:
    """Loads plugins from the directories of config/plugin_dirs, and then from the shipped one."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._classes: dict[Path, type[Plugin]] = {}
        self._loading: list[Path] = []

    @property
    def directories(self) -> list[Path]:
        """The directories in which plugin files are looked for, in order."""
        private = [home_path(line.text, line) for line in self._config.numbered("plugin_dirs")]
        return list(dict.fromkeys([*private, shipped("plugins")]))

    def available(self) -> dict[str, Path]:
        """Give the plugin files of all directories, without those of tests, by the name that loads them."""
        found: dict[str, Path] = {}
        for directory in self.directories:
            with suppress(OSError):  # where nothing can be listed, nothing is available
                for path in sorted(directory.rglob("*.py")):
                    if not path.name.startswith(("_", "test_")):
                        found.setdefault(str(path.relative_to(directory).with_suffix("")), path)
        return found

    def find(self, name: str) -> Path | None:
        """Find the file of a plugin by its configured name."""
        relative = INSTANCE.sub("", name).replace("-", "_") + ".py"
        for directory in self.directories:
            if _is_file(directory / relative):
                return directory / relative
        return None

    def plugin_class(self, name: str) -> type[Plugin]:
        """Give the class of a plugin by its configured name, ``queue/qmail-queue:1`` or ``my.package:Class``.

        Raises SettingError when there is none, or none that can be loaded.
        """
        bare = INSTANCE.sub("", name)
        if "." in bare and ":" in bare and "/" not in bare:
            return _from_package(bare)
        path = self.find(name)
        if path is not None:
            return self._from_file(path)
        known = sorted(self.available())
        close = get_close_matches(bare.replace("-", "_"), known, 1)
        meant = f"did you mean {close[0]}? There" if close else "there"
        searched = ", ".join(map(str, self.directories))
        raise SettingError(f"no plugin is called {name!r} in {searched}; {meant} are {', '.join(known)}")

    def load(self, line: Line, services: Services, *, register: bool = True) -> Plugin:
        """Make the plugin of one line of config/plugins; ConfigError says what is wrong with it."""
        try:
            return self._load(line.text.replace("\t", " "), services, register)
        except SettingError as error:
            raise ConfigError(str(error), line.file, line.number) from None
        except ConfigError as error:
            if error.file is not None:
                raise
            raise ConfigError(error.message, line.file, line.number) from None

    def _load(self, text: str, services: Services, register: bool) -> Plugin:
        if not (text.isascii() and text.isprintable()):
            raise SettingError(f"{text!a}: only printable ASCII characters are allowed")
        name, *words = split_words(text)
        owner = self.plugin_class(name)
        with _speaking_of(name, owner):
            plugin = owner(services, name, **read_arguments(owner, words))
            if register:
                plugin.register()
            for hook, method, _ in plugin.registrations:
                _check_arguments(hook, plugin, method)
        return plugin

    def _from_file(self, path: Path) -> type[Plugin]:
        path = path.resolve()
        if path in self._loading:
            raise SettingError(f"{path}: this plugin inherits from itself")
        if path not in self._classes:
            token = _loader.set(self)
            self._loading.append(path)
            try:
                self._classes[path] = _only_class(_execute(path), path)
            finally:
                self._loading.pop()
                _loader.reset(token)
        return self._classes[path]


def isa_plugin(name: str) -> type[Plugin]:
    """Give another plugin's class to inherit from: ``class Mine(isa_plugin("badrcptto")):``."""
    # A file that is imported by a test, and not by a loader, finds the shipped plugins.
    return (_loader.get(None) or Loader(Config())).plugin_class(name)


def home_path(text: str, line: Line | None = None) -> Path:
    """Make a path of a setting that may begin with ~; ConfigError when there is no such user, or path."""
    if "\0" in text:
        raise ConfigError(f"{text!r}: no path has a NUL in it", *(line[1:] if line else ()))
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ConfigError(f"{text}: no such home directory", *(line[1:] if line else ())) from None


def declared(path: Path, attribute: str) -> dict[str, str]:
    """Read a mapping, ``files`` or ``requires``, from a plugin's source, without running it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[str, str] = {}
    for node in (node for owner in tree.body if isinstance(owner, ast.ClassDef) for node in owner.body):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if [getattr(target, "id", "") for target in targets] == [attribute]:
            with suppress(TypeError, ValueError):  # computed: only the running plugin knows
                found.update(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return found


@contextmanager
def _speaking_of(name: str, owner: type[Plugin]) -> Iterator[None]:
    """Make a SettingError that begins with the plugin's name out of whatever it raises."""
    try:
        yield
    except SettingError as error:
        raise SettingError(f"{name}: {error}") from None
    except ConfigError:
        raise
    except Exception as error:
        path = getattr(sys.modules.get(owner.__module__), "__file__", None) or ""
        raise SettingError(f"{name}: {_explain(error, path)}{_hint(owner.requires, error)}") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise SettingError(f"{path}: cannot be read: {error.strerror}") from None


def _from_package(name: str) -> type[Plugin]:
    module_name, _, class_name = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise SettingError(f"cannot load {name}: {error}") from None
    except Exception as error:
        raise SettingError(f"cannot load {name}: {_explain(error, '')}") from error
    if not (isinstance(found, type) and issubclass(found, Plugin)):
        raise SettingError(f"{name} is not a subclass of qpsmtpd.Plugin")
    _check_class(found)
    return found


def _execute(path: Path) -> ModuleType:
    """Run a plugin's file as a module of its own name space."""
    name = "qpsmtpd_plugins." + re.sub(r"\W", "_", str(path.with_suffix("")))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        if isinstance(error, SettingError):
            raise
        raise SettingError(_explain(error, str(path)) + _hint(declared(path, "requires"), error)) from error
    return module


def _hint(requires: Mapping[str, str], error: Exception) -> str:
    """Give the line that installs what is missing, if the plugin names it in ``requires``."""
    missing = error.name or "" if isinstance(error, ImportError) else ""
    extra = requires.get(missing) or requires.get(missing.partition(".")[0])
    return f"; pip install 'qpsmtpd[{extra}]'" if extra else ""


def _only_class(module: ModuleType, path: Path) -> type[Plugin]:
    own = {
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Plugin) and value.__module__ == module.__name__
    }
    if len(own) != 1:
        raise SettingError(f"{path}: a plugin's file holds one subclass of Plugin, this one has {len(own)}")
    owner = own.pop()
    _check_class(owner)
    return owner


def _check_class(owner: type[Plugin]) -> None:
    _check_settings(owner)
    _check_methods(owner)


def _check_settings(owner: type[Plugin]) -> None:
    """Refuse settings that would stand in the way of what every plugin has."""
    if taken := settings_of(owner).keys() & GIVEN:
        place = getattr(sys.modules.get(owner.__module__), "__file__", owner.__module__)
        raise SettingError(
            f"{place}: no setting may be called {', '.join(sorted(taken))}: every plugin has one"
        )


def _check_methods(owner: type[Plugin]) -> None:
    """Refuse methods called hook_* that belong to no hook; name their file and line."""
    for base in owner.__mro__:
        for name, value in vars(base).items():
            if name.startswith("hook_") and name not in METHODS and callable(value):
                raise SettingError(f"{_place(value)}Invalid hook: {name}; methods are {', '.join(METHODS)}")


def _check_arguments(hook: str, plugin: Plugin, method: Callable[..., Any]) -> None:
    """Refuse a method that asks for what its hook does not offer; name its file and line."""
    function = getattr(method, "__func__", None)
    if function is not None and next(iter(signature(function).parameters), "") in (
        "",
        *HOOKS[hook].arguments,
    ):
        raise SettingError(f"{_place(method)}the first argument of {function.__name__} must be self")
    try:
        Implementation(HOOKS[hook], plugin, method)
    except SettingError as error:
        raise SettingError(f"{_place(method)}{error}") from None


def _place(function: object) -> str:
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}: " if code else ""


def _explain(error: Exception, path: str) -> str:
    """Say in one line where, in the plugin's own file if it was there, and what an error is."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if frame.filename not in _OURS]
    own = [frame for frame in theirs if frame.filename == path] or theirs
    where = f"{own[-1].filename}:{own[-1].lineno}: " if own else path and f"{path}: "
    return f"{where}{type(error).__name__}: {' '.join(str(error).split())}"

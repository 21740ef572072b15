"""From a line of config/plugins to a plugin: find the file, load the class, read the arguments.

Whatever is wrong becomes one ConfigError with the file and line of the configuration, and with those of
the plugin where that is where the mistake is.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType

from .config import Config, ConfigError, Line
from .hooks import HOOKS, METHODS
from .plugin import Plugin, Services
from .registry import Implementation, Registry
from .setting import SettingError, read_arguments, settings_of, split_words

_loader: ContextVar[Loader] = ContextVar("_loader")
"""The loader at work, so that a plugin's file can ask for its parent while it is being loaded."""


def shipped(directory: str) -> Path:
    """Find a directory that is shipped beside the package: next to a checkout, else where pip put it."""
    beside = Path(__file__).resolve().parent.parent / directory
    if (beside.parent / "setup.cfg").exists() and beside.is_dir():
        return beside
    for scheme in ("data", *_user_base()):
        installed = (
            Path(scheme if scheme != "data" else sysconfig.get_path("data")) / "share/qpsmtpd" / directory
        )
        if installed.is_dir():
            return installed
    return Path(sysconfig.get_path("data")) / "share/qpsmtpd" / directory


def _user_base() -> list[str]:
    import site

    base = site.getuserbase()
    return [base] if base else []


class Loader:
    """Loads plugins from the directories of config/plugin_dirs, else from the shipped one."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._classes: dict[Path, type[Plugin]] = {}

    @property
    def directories(self) -> list[Path]:
        """The directories in which plugin files are looked for, in order."""
        lines = self._config.lines("plugin_dirs")
        return [Path(line).expanduser() for line in lines] or [shipped("plugins")]

    def available(self) -> dict[str, Path]:
        """Give the plugin files of all directories by the name that loads them."""
        found: dict[str, Path] = {}
        for directory in self.directories:
            for path in sorted(directory.rglob("*.py")):
                if not path.name.startswith("_"):
                    found.setdefault(str(path.relative_to(directory).with_suffix("")), path)
        return found

    def plugin_class(self, name: str) -> type[Plugin]:
        """Give the class of a plugin by its configured name, ``queue/qmail-queue:1`` or ``my.package:Class``.

        Raises SettingError when there is none, or none that can be loaded.
        """
        if _is_dotted(name):
            return _from_package(name)
        relative = re.sub(r":\d+$", "", name).replace("-", "_") + ".py"
        directories = self.directories
        for directory in directories:
            path = directory / relative
            if path.is_file():
                return self._from_file(path)
        known = ", ".join(sorted(self.available()))
        searched = ", ".join(map(str, directories))
        raise SettingError(f"no plugin is called {name!r} in {searched}; there are {known}")

    def load(self, line: Line, services: Services, *, register: bool = True) -> Plugin:
        """Make the plugin of one line of config/plugins; ConfigError says what is wrong with it."""
        try:
            return self._load(line.text, services, register=register)
        except SettingError as error:
            raise ConfigError(str(error), line.file, line.number) from None
        except ConfigError:
            raise
        except Exception as error:
            where = _innermost(error)
            raise ConfigError(f"{line.text.split()[0]}: {where}", line.file, line.number) from error

    def _load(self, text: str, services: Services, *, register: bool) -> Plugin:
        if not (text.isascii() and text.isprintable()):
            raise SettingError("only printable ASCII characters are allowed")
        name, *words = split_words(text)
        owner = self.plugin_class(name)
        try:
            plugin = owner(services, name, **read_arguments(owner, words))
            if register:
                plugin.register()
        except SettingError as error:
            raise SettingError(f"{name}: {error}") from None
        for hook, method, _ in plugin.registrations:
            Implementation(HOOKS[hook], plugin, method)
        return plugin

    def _from_file(self, path: Path) -> type[Plugin]:
        path = path.resolve()
        if path not in self._classes:
            token = _loader.set(self)
            try:
                self._classes[path] = _only_class(_execute(path), path)
            finally:
                _loader.reset(token)
        return self._classes[path]


def isa_plugin(name: str) -> type[Plugin]:
    """Give another plugin's class to inherit from: ``class Mine(isa_plugin("badrcptto")):``."""
    return _loader.get().plugin_class(name)


def load_plugins(
    loader: Loader, lines: Sequence[Line], services: Services, registry: Registry
) -> list[ConfigError]:
    """Load all lines in order; give every error, so that an administrator sees all at once."""
    errors = []
    for line in lines:
        try:
            registry.add(loader.load(line, services))
        except ConfigError as error:
            errors.append(error)
    return errors


def _is_dotted(name: str) -> bool:
    return "." in name and "/" not in name and ":" in name


def _from_package(name: str) -> type[Plugin]:
    module_name, _, class_name = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise SettingError(f"cannot load {name}: {error}") from None
    if not (isinstance(found, type) and issubclass(found, Plugin)):
        raise SettingError(f"{name} is not a subclass of qpsmtpd.Plugin")
    _check_methods(found)
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
    except SettingError:
        raise
    except ImportError as error:
        raise SettingError(f"{path}: {error}{_hint(path, error)}") from None
    except Exception as error:
        raise SettingError(_innermost(error)) from None
    return module


def _hint(path: Path, error: ImportError) -> str:
    """Give the line that installs what is missing, if the plugin names it in ``requires``."""
    missing = (error.name or "").partition(".")[0]
    declared = re.search(rf'"{re.escape(missing)}"\s*:\s*"(\w+)"', path.read_text()) if missing else None
    return f"; pip install 'qpsmtpd[{declared[1]}]'" if declared else ""


def _only_class(module: ModuleType, path: Path) -> type[Plugin]:
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Plugin) and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise SettingError(f"{path}: a plugin's file holds one subclass of Plugin, this one has {len(own)}")
    _check_methods(own[0])
    return own[0]


def _check_methods(owner: type[Plugin]) -> None:
    """Refuse methods called hook_* that belong to no hook; name their file and line."""
    for base in owner.__mro__:
        for name, value in vars(base).items():
            if name.startswith("hook_") and name not in METHODS and callable(value):
                code = getattr(value, "__code__", None)
                where = f"{code.co_filename}:{code.co_firstlineno}: " if code else ""
                raise SettingError(f"{where}Invalid hook: {name}; methods are {', '.join(METHODS)}")


def _innermost(error: BaseException) -> str:
    """Say where and what an error is, in one line."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    return f"{where}{type(error).__name__}: {error}"


def manual(owner: type[Plugin]) -> str:
    """Give a plugin's manual page: its file's docstring and its settings."""
    text = (sys.modules[owner.__module__].__doc__ or owner.__doc__ or "").strip()
    lines = [text, "", "Settings:"]
    for setting in settings_of(owner).values():
        shown = setting.keyword.upper() if setting.position else setting.keyword
        default = (
            "required" if setting.required else f"default {setting.default!s}" if setting.default else ""
        )
        facts = ", ".join(fact for fact in (setting.allowed, setting.unit, default) if fact)
        lines.append(f"  {shown}: {facts}" + (f". {setting.help}" if setting.help else ""))
    return "\n".join(lines) + "\n"

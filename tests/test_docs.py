"""The documentation names everything there is, and its examples are files that run."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from unittest import TestResult, defaultTestLoader

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import Address, Connection, Header, Recipient, Transaction
from qpsmtpd.body import Body
from qpsmtpd.config import Config
from qpsmtpd.connection import Results, TLSInfo
from qpsmtpd.corefiles import CORE_FILES
from qpsmtpd.hooks import HOOKS
from qpsmtpd.kit.dns import MX, Answer
from qpsmtpd.limits import Limits
from qpsmtpd.loader import Loader
from qpsmtpd.plugin import Plugin
from qpsmtpd.setting import settings_of
from qpsmtpd.testing import load, play

ENGINE: dict[type, set[str]] = {
    Connection: {"begin_journal", "forget_client"},
    TLSInfo: {"exporter"},
    Transaction: {"touched", "verdicts", "close"},
    Header: {"parse", "put_on_top"},
    Body: {"close", "failed", "finish", "threshold", "write"},
    Answer: {"status"},
}
"""What the arguments of hooks have that is not for plugins."""

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def plugins() -> dict[str, type[Plugin]]:
    """Give every shipped plugin's class by its configured name."""
    loader = Loader(Config(()))
    return {name: loader.plugin_class(name) for name in loader.available()}


def named(page: str) -> set[str]:
    """Give the words in code quotes of a page."""
    return set(re.findall(r"`([^`\n]+)`", (DOCS / page).read_text()))


class NamesTests(SynchronousTestCase):
    """Every hook, plugin, setting and configuration file is documented."""

    def test_hooks(self) -> None:
        self.assertEqual(HOOKS.keys() - named("hooks.md"), set())

    def test_arguments_of_hooks(self) -> None:
        arguments = {name for hook in HOOKS.values() for name in hook.arguments}
        self.assertEqual(arguments - named("hooks.md"), set())

    def test_what_arguments_hold(self) -> None:
        """A plugin's author finds all attributes; those of ENGINE are not for plugins."""
        page = (DOCS / "hooks.md").read_text()
        section = page[page.index("## What the arguments hold") : page.index("## Order")]
        words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", section))))
        for owner in (*ENGINE, Results, Recipient, Address, MX):
            public = {name for name in dir(owner) if not name.startswith("_")} - set(dir(tuple))
            self.assertEqual(set(), (public ^ ENGINE.get(owner, set())) - words, owner)

    def test_settings_of_every_plugin(self) -> None:
        self.assertEqual(settings_of(Plugin).keys() - named("plugins.md"), set())

    def test_plugins(self) -> None:
        self.assertEqual(plugins().keys() - {name.replace("-", "_") for name in named("config.md")}, set())

    def test_plugin_settings_are_in_their_manuals(self) -> None:
        for name, owner in plugins().items():
            manual = sys.modules[owner.__module__].__doc__ or ""
            own = {s.keyword for key, s in settings_of(owner).items() if key not in settings_of(Plugin)}
            missing = {word for word in own if word.lower() not in manual.lower()}
            self.assertEqual(missing, set(), name)

    def test_core_files(self) -> None:
        self.assertEqual(CORE_FILES.keys() - named("config.md"), set())

    def test_limits_have_units_and_meanings(self) -> None:
        for limit in fields(Limits):
            self.assertTrue(limit.metadata["unit"] and limit.metadata["help"], limit.name)

    def test_files_of_plugins(self) -> None:
        files = {file for owner in plugins().values() for file in owner.files}
        self.assertEqual(files - named("config.md"), set())

    def test_every_file_is_shipped_with_a_comment(self) -> None:
        files = set(CORE_FILES) | {file for owner in plugins().values() for file in owner.files}
        for name in sorted(files):
            path = ROOT / "config" / name
            self.assertTrue(path.exists() or name.endswith((".cdb", "*", "/")), f"config/{name} is missing")
            if path.is_file():
                self.assertTrue(path.read_text().startswith("#"), f"config/{name} begins with no comment")

    def test_nothing_is_shipped_that_nobody_reads(self) -> None:
        read = set(CORE_FILES) | {file for owner in plugins().values() for file in owner.files}
        shipped = {path.name for path in (ROOT / "config").iterdir() if path.is_file()}
        self.assertEqual(shipped - read, set())


class StandardsTests(SynchronousTestCase):
    """Every row of docs/standards.md names files and tests that exist."""

    def rows(self) -> list[tuple[str, str]]:
        """Give the last two columns, file and test; "the same" is that of the row above."""
        found: list[tuple[str, str]] = []
        for line in (DOCS / "standards.md").read_text().splitlines():
            if line.startswith("| ") and not line.startswith("| standard "):
                cells = [cell.strip() for cell in line.strip("|").split("|")]
                self.assertEqual(len(cells), 5, line)
                file, test = cells[3:]
                found.append((file, found[-1][1] if test == "the same" else test))
        self.assertTrue(found)
        return found

    def test_files_exist(self) -> None:
        for cell, _ in self.rows():
            names = re.findall(r"`([^`]+)`", cell)
            self.assertTrue(names, cell)
            for name in names:
                self.assertTrue((ROOT / "qpsmtpd" / name).is_file() or (ROOT / name).is_file(), name)

    def test_tests_exist(self) -> None:
        for _, cell in self.rows():
            names = re.findall(r"`([^`]+)`", cell)
            self.assertTrue(names, cell)
            for name in names:
                module = "test_" in name
                pattern = f"{name}.py" if module else f"dialogues/{name.removeprefix('dialogues/')}.smtp"
                self.assertTrue(list((ROOT / "tests").glob(pattern)), name)


class ExampleTests(SynchronousTestCase):
    """What the pages show is what runs."""

    def test_pages_show_the_files(self) -> None:
        for page in sorted(DOCS.glob("*.md")):
            blocks = re.findall(r"<!-- file: (\S+) -->\n```\w*\n(.*?)```", page.read_text(), re.DOTALL)
            for name, shown in blocks:
                self.assertEqual(shown, (DOCS / name).read_text(), f"{page.name} shows another {name}")

    def test_the_examples_pass_their_tests(self) -> None:
        for name, case, count in [
            ("subject_filter", "SubjectFilterTests", 4),
            ("hourly_limit", "HourlyLimitTests", 2),
        ]:
            spec = spec_from_file_location(f"test_{name}", DOCS / "examples" / f"test_{name}.py")
            assert spec is not None and spec.loader is not None
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            result = TestResult()
            defaultTestLoader.loadTestsFromTestCase(getattr(module, case)).run(result)
            self.assertEqual((result.testsRun, result.errors, result.failures), (count, [], []), name)

    def test_the_command_that_runs_them(self) -> None:
        (module,) = re.findall(r"`python -m twisted\.trial (\S+)`", (DOCS / "plugins.md").read_text())
        command = [sys.executable, "-m", "twisted.trial", "--temp-directory", Path(self.mktemp()).absolute()]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        ran = subprocess.run(
            [*command, module],
            cwd=DOCS / "examples",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertIn("PASSED (successes=4)", ran.stdout, ran.stderr)

    def test_the_example_as_a_dialogue(self) -> None:
        dialogue = load(DOCS / "examples" / "subject_filter.smtp")
        # The page shows a path of the checkout; the test runs elsewhere.
        here = f"plugin_dirs: {DOCS / 'examples'}"
        dialogue.headings[:] = [(k, here if "plugin_dirs" in text else text) for k, text in dialogue.headings]
        play(dialogue)

    def test_links_lead_somewhere(self) -> None:
        for page in [ROOT / "README.md", *DOCS.glob("*.md")]:
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")

"""tls names the certificate, or stops the start with a clear line."""

import os
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import ConfigError, TLSFiles
from qpsmtpd.building import Built
from qpsmtpd.config import Config
from qpsmtpd.loader import Loader
from qpsmtpd.testing import Tried

NAMES = ("qpsmtpd-server.crt", "qpsmtpd-server.key", "qpsmtpd-ca.crt", "qpsmtpd-dhparam.pem")


class TLSTests(SynchronousTestCase):
    """In a working directory of its own, with ``config`` as configuration directory."""

    def setUp(self) -> None:
        self.here = Path(self.mktemp()).absolute()
        (self.here / "config").mkdir(parents=True)
        before = Path.cwd()
        os.chdir(self.here)
        self.addCleanup(os.chdir, before)

    def touch(self, directory: str, *names: str) -> None:
        """Make empty files."""
        for name in names:
            path = self.here / directory / name
            path.parent.mkdir(exist_ok=True)
            path.touch()

    def load(self, words: str = "") -> TLSFiles:
        """Load the plugin with these arguments and give what it named."""
        built = self.build(words)
        if built.errors:
            raise built.errors[0]
        assert built.services.tls is not None
        return built.services.tls

    def build(self, words: str) -> Built:
        """Take a plugin line through the loader alone."""
        config = self.here / "config"
        (config / "plugins").write_text(f"tls {words}\n")
        built = Built(Config([config]), Clock(), self.here / "spool")
        built.collect(lambda: Loader(built.config).load(built.config.numbered("plugins")[0], built.services))
        return built

    def expect(self, directory: str, words: str = "", present: int = 4) -> None:
        """The files of this directory are named, as many as there are."""
        paths = [self.here / directory / name for name in NAMES]
        optional = [path if path.exists() else None for path in paths[2:]]
        self.assertEqual(TLSFiles(paths[0], paths[1], *optional), self.load(words))

    def test_configuration_directory(self) -> None:
        """Without arguments the files are in ssl/ of the configuration directory."""
        self.touch("config/ssl", *NAMES)
        self.expect("config/ssl")

    def test_working_directory(self) -> None:
        """An ssl/ in the working directory comes first."""
        self.touch("config/ssl", *NAMES)
        self.touch("ssl", *NAMES)
        self.expect("ssl")

    def test_optional_files(self) -> None:
        """Authorities and parameters may be missing."""
        self.touch("ssl", *NAMES[:2])
        self.expect("ssl")
        self.assertIsNone(self.load().ca)
        self.assertIsNone(self.load().dh)

    def test_arguments(self) -> None:
        """Files that the line names are taken, in upstream's order."""
        self.touch("x", "c", "k", "a", "d")
        x = self.here / "x"
        self.assertEqual(TLSFiles(x / "c", x / "k", x / "a", x / "d"), self.load("x/c x/k x/a x/d"))

    def test_missing_certificate(self) -> None:
        """A missing certificate stops the start; the line says where it was looked for."""
        error = self.assertRaises(ConfigError, self.load)
        self.assertEqual(
            f"{self.here}/config/plugins:1: tls: {self.here}/config/ssl/{NAMES[0]}: "
            "there is no such certificate; self_signed makes one",
            str(error),
        )

    def test_missing_argument(self) -> None:
        """A file that the line names must be there."""
        self.touch("x", "c", "k")
        for words in ("x/c x/k x/a", "x/c x/k x/c x/d"):
            self.assertIn("there is no such file", str(self.assertRaises(ConfigError, self.load, words)))

    def test_self_signed(self) -> None:
        """self_signed needs no certificate beforehand."""
        files = self.load("self_signed")
        self.assertTrue(files.self_signed)
        self.assertEqual(self.here / "config/ssl" / NAMES[0], files.certificate)

    def test_names_and_clients(self) -> None:
        """A directory of certificates, and what becomes of clients' ones."""
        files = self.load("self_signed sni certs client require client_ca x/ca")
        self.assertEqual(
            (self.here / "certs", "require", self.here / "x/ca"), (files.sni, files.client, files.client_ca)
        )
        files = self.load("self_signed")
        self.assertEqual((None, "off", None), (files.sni, files.client, files.client_ca))
        self.assertIn("one of off, ask, require", str(self.assertRaises(ConfigError, self.load, "client x")))

    def test_once(self) -> None:
        """A second certificate is a mistake."""
        services = Tried("tls self_signed").services
        self.assertIsNotNone(services.tls)
        config = Config((), {"plugins": ["tls:1 self_signed"]})
        error = self.assertRaises(ConfigError, Loader(config).load, config.numbered("plugins")[0], services)
        self.assertIn("another line", str(error))

    def test_server(self) -> None:
        """A server with this plugin offers TLS, with the certificate that was made."""
        (self.here / "config/plugins").write_text("tls self_signed\n")
        (self.here / "config/me").write_text("mail.example.com\n")
        built = Built(Config([self.here / "config"]), Clock(), self.here / "spool")
        built.build()
        self.assertEqual([], built.errors)
        assert built.engine is not None
        self.assertIsNotNone(built.tls)
        self.assertTrue((self.here / "config/ssl" / NAMES[1]).exists())

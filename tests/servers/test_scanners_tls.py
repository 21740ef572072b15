"""What testssl.sh, sslyze and nmap find in TLS, on STARTTLS and SMTPS; and that they would find something."""

from __future__ import annotations

import json
import re
import tempfile
import unittest
from pathlib import Path
from typing import Any

from harness import need
from scanning import HOST, Scan, WeakServer, nmap, scanned, script_results, tool

# testssl.sh asks no name server then. At NXCONNECT nobody must listen; by default it is the host "invalid.".
TESTSSL = ("env", "NXCONNECT=127.0.0.1:0", "testssl", "--quiet", "--color", 0, "--warnings", "off")
TESTSSL += ("-n", "none", "--ip", "127.0.0.1")
# Both are about the CBC ciphers behind all others, see qpsmtpd/tlscontext.py: without them old mail servers
# send in clear. Whether Lucky 13 works cannot be seen from outside, so testssl.sh tells who has such ciphers.
# OpenSSL has had the cure since 2013, and offers encrypt-then-MAC.
TOLERATED = {("LOW", "cipherlist_AVERAGE"), ("LOW", "LUCKY13")}
# What it warns of is what it could not do: try GOST ciphers, know SMTPS on a high port, resume a session
# whose ticket came when its client had gone; DEBUG is another such. All that it must have looked for is in
# FINE.
NO_FLAW = {"OK", "INFO", "WARN", "DEBUG"}
FINE = [
    "SSLv2",
    "SSLv3",
    "TLS1_2",
    "TLS1_3",
    "cipherlist_NULL",
    "cipherlist_aNULL",
    "cipherlist_EXPORT",
    "cipherlist_LOW",
    "PFS",
    "cipher_order",
    "cert_signatureAlgorithm",
    "cert_keySize",
    "cert_trust",
    "cert_chain_of_trust",
    "cert_expirationStatus",
    "heartbleed",
    "CCS",
    "ROBOT",
    "secure_renego",
    "secure_client_renego",
    "CRIME_TLS",
    "POODLE_SSL",
    "fallback_SCSV",
    "SWEET32",
    "FREAK",
    "DROWN",
    "LOGJAM",
    "BEAST",
    "RC4",
]

CBC = {
    f"TLS_ECDHE_ECDSA_WITH_AES_{end}"
    for end in ("256_CBC_SHA384", "256_CBC_SHA", "128_CBC_SHA256", "128_CBC_SHA")
}
AEAD = {f"TLS_ECDHE_ECDSA_WITH_{end}" for end in ("AES_256_GCM_SHA384", "AES_128_GCM_SHA256")}
AEAD |= {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"}
# Mozilla leaves them out for their costs, not for a weakness, and pyOpenSSL has no way to.
MORE_GROUPS = {"X448", "secp521r1"}

# Scripts, and of how many flaws each tells.
FLAWS = {
    "ssl-heartbleed": 1,
    "ssl-poodle": 1,
    "ssl-dh-params": 4,
    "ssl-ccs-injection": 1,
    "tls-ticketbleed": 1,
}
SCRIPTS = ",".join(["ssl-enum-ciphers", "sslv2", "sslv2-drown", *FLAWS])


class TLSScanTests(unittest.TestCase):
    """All scans run side by side; each test looks at what one of them found."""

    place: Path
    scans: dict[str, Scan]

    @classmethod
    def setUpClass(cls) -> None:
        need("testssl", "nmap")
        server = scanned()
        cls.addClassCleanup(server.close)
        server.start()
        weak = WeakServer(server.directory)
        cls.addClassCleanup(weak.close)
        cls.place = place = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.ports, cls.weak_port = (server.port, server.smtps_port), weak.port
        authority = server.directory / "ca.crt"
        testssl = (*TESTSSL, "--add-ca", authority)
        checks = ("-p", "-s", "-f", "-P", "-S", "-U")
        sslyze = (
            tool("sslyze"),
            "--mozilla_config=intermediate",
            "--certinfo_ca_file",
            authority,
            "--json_out",
        )
        plain, secret = f"{HOST}:{server.port}", f"{HOST}:{server.smtps_port}"
        cls.scans = {
            "testssl STARTTLS": Scan(place, *testssl, "-t", "smtp", "-oj", "t1", *checks, plain),
            "testssl SMTPS": Scan(place, *testssl, "-oj", "t2", *checks, secret),
            "testssl weak": Scan(place, *testssl, "-oj", "t3", "-p", "-R", f"{HOST}:{weak.port}"),
            "sslyze STARTTLS": Scan(place, *sslyze, "y1", "--starttls=smtp", plain),
            "sslyze SMTPS": Scan(place, *sslyze, "y2", secret),
            "nmap": nmap(place, SCRIPTS, server.port, server.smtps_port),
        }

    @classmethod
    def tearDownClass(cls) -> None:
        for name, scan in cls.scans.items():
            scan.output()
            print(f"{name}: {scan.seconds:.0f} s")

    def findings(self, name: str, file: str) -> list[dict[str, str]]:
        said = self.scans[name].output()
        path = self.place / file
        self.assertTrue(path.exists(), said)
        found: list[dict[str, str]] = json.loads(path.read_text())
        return found

    def test_testssl(self) -> None:
        """No finding but what is justified above; each flaw was looked for."""
        for name, file in (("testssl STARTTLS", "t1"), ("testssl SMTPS", "t2")):
            with self.subTest(name):
                found = self.findings(name, file)
                by_id = {one["id"]: one for one in found}
                bad = {(one["severity"], one["id"]) for one in found if one["severity"] not in NO_FLAW}
                self.assertEqual(TOLERATED, bad)
                self.assertEqual([], [one for one in FINE if by_id[one]["severity"] != "OK"])
                self.assertEqual(["not offered"] * 2, [by_id[one]["finding"] for one in ("TLS1", "TLS1_1")])
                self.assertNotIn("CCM", by_id["PFS_ciphers"]["finding"])
                self.assertIn("X25519", by_id["PFS_ECDHE_curves"]["finding"])
        extensions = {one["id"]: one["finding"] for one in self.findings("testssl STARTTLS", "t1")}[
            "TLS_extensions"
        ]
        self.assertIn("encrypt-then-mac", extensions)
        self.assertIn("extended master secret", extensions)

    def test_testssl_sees(self) -> None:
        """The weak server's faults are found, renegotiation among them."""
        bad = {one["id"] for one in self.findings("testssl weak", "t3") if one["severity"] not in NO_FLAW}
        self.assertLessEqual({"TLS1", "TLS1_1", "secure_client_renego"}, bad)

    def sslyze(self, file: str) -> dict[str, Any]:
        result = json.loads((self.place / file).read_text())["server_scan_results"][0]
        self.assertEqual("COMPLETED", result["scan_status"])
        return {key: value["result"] for key, value in result["scan_result"].items()}

    def test_sslyze(self) -> None:
        """The versions, ciphers and groups are those that were meant; no flaw is found."""
        for name, file in (("sslyze STARTTLS", "y1"), ("sslyze SMTPS", "y2")):
            with self.subTest(name):
                self.scans[name].output()
                found = self.sslyze(file)
                ciphers = {
                    version: {one["cipher_suite"]["name"] for one in result["accepted_cipher_suites"]}
                    for version, result in found.items()
                    if version.endswith("_cipher_suites")
                }
                self.assertEqual(CBC | AEAD, ciphers.pop("tls_1_2_cipher_suites"))
                self.assertEqual(3, len(ciphers.pop("tls_1_3_cipher_suites")))
                self.assertEqual([set()] * 4, list(ciphers.values()))
                groups = {one["name"] for one in found["elliptic_curves"]["supported_curves"]}
                self.assertEqual({"X25519", "secp256r1", "secp384r1"} | MORE_GROUPS, groups)
                renegotiation = found["session_renegotiation"]
                self.assertTrue(renegotiation["supports_secure_renegotiation"])
                self.assertFalse(renegotiation["is_vulnerable_to_client_renegotiation_dos"])
                self.assertFalse(found["heartbleed"]["is_vulnerable_to_heartbleed"])
                self.assertFalse(found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"])
                self.assertFalse(found["tls_compression"]["supports_compression"])
                self.assertTrue(found["tls_fallback_scsv"]["supports_fallback_scsv"])
                self.assertTrue(found["tls_extended_master_secret"]["supports_ems_extension"])
                self.assertEqual("NOT_VULNERABLE_RSA_NOT_SUPPORTED", found["robot"]["robot_result"])

    def test_mozilla(self) -> None:
        """Mozilla's intermediate configuration, but for the CBC ciphers and two groups more."""
        for name in ("sslyze STARTTLS", "sslyze SMTPS"):
            with self.subTest(name):
                said = self.scans[name].output()
                complaints = dict(
                    re.findall(r"^ +\* (\w+): (.+)$", said.partition("COMPLIANCE AGAINST")[2], re.M)
                )
                self.assertEqual({"ciphers", "tls_curves"}, set(complaints), said)
                self.assertEqual(CBC, set(re.findall(r"'(\w+)'", complaints["ciphers"])))
                self.assertEqual(MORE_GROUPS, set(re.findall(r"'(\w+)'", complaints["tls_curves"])))

    def test_nmap(self) -> None:
        """Grade A throughout, no old version, and each flaw that nmap looks for is not there."""
        found = script_results(self.scans["nmap"].output())
        for port in self.ports:
            with self.subTest(port=port):
                self.assertEqual("smtp qpsmtpd", found[port, "service"])
                ciphers = found[port, "ssl-enum-ciphers"]
                self.assertIn("least strength: A", ciphers)
                self.assertEqual({"A"}, set(re.findall(r" - ([A-F])\b", ciphers)))
                self.assertEqual(["TLSv1.2", "TLSv1.3"], re.findall(r"(SSLv\S+|TLSv\S+): ", ciphers))
                self.assertIn("cipher preference: server", ciphers)
                for script, count in FLAWS.items():
                    states = re.findall(r"State: (.+)", found[port, script])
                    self.assertEqual(["NOT VULNERABLE"] * count, states, script)
                # They speak only where SSL 2 is spoken.
                self.assertNotIn((port, "sslv2"), found)
                self.assertNotIn((port, "sslv2-drown"), found)

    def test_nmap_sees(self) -> None:
        """The weak server has old versions and a cipher without encryption."""
        self.scans["testssl weak"].output()  # that server has one client at a time
        found = script_results(nmap(self.place, "ssl-enum-ciphers", self.weak_port).output())
        ciphers = found[self.weak_port, "ssl-enum-ciphers"]
        self.assertIn("TLSv1.0", ciphers)
        self.assertIn("least strength: F", ciphers)


if __name__ == "__main__":
    unittest.main()

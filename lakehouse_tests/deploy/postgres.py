"""A real PostgreSQL on the loopback, with TLS and a password, in a folder of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lakehouse.local.aws import free_port

HOMES = [*sorted(Path("/usr/lib/postgresql").glob("*/bin")), Path("/usr/local/bin"), Path("/usr/bin")]
BIN = next((home for home in HOMES if (home / "initdb").exists() and (home / "postgres").exists()), None)
USER = "postgres"


@dataclass(frozen=True)
class Postgres:
    port: int
    password: str

    def environment(self) -> dict[str, str]:
        return {
            "LAKEHOUSE_DATABASE_HOST": "127.0.0.1",
            "LAKEHOUSE_DATABASE_USER": "dagster",
            "LAKEHOUSE_DATABASE_PASSWORD": self.password,
            "LAKEHOUSE_DATABASE_PORT": str(self.port),
        }


@contextmanager
def started(password: str) -> Iterator[Postgres]:
    """PostgreSQL refuses to run as root: then it runs as the user that Debian's package makes."""
    assert BIN
    folder = Path(mkdtemp(prefix="lakehouse-postgres-"))
    (folder / "password").write_text(password)
    _certificate(folder)
    if os.getuid() == 0:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, USER, USER)
    port, data = free_port(), str(folder / "data")
    _run(["initdb", "-D", data, "-U", "dagster", "-A", "scram-sha-256", "--pwfile", str(folder / "password")])
    told = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": folder,
        "fsync": "off",
        "ssl": "on",
        "ssl_cert_file": folder / "crt",
        "ssl_key_file": folder / "key",
    }
    options = " ".join(f"-c {name}={value}" for name, value in told.items())
    _run(["pg_ctl", "-D", data, "-l", str(folder / "log"), "-w", "-o", options, "start"])
    try:
        made = ["createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "dagster", "dagster"]
        subprocess.run([BIN / made[0], *made[1:]], env=os.environ | {"PGPASSWORD": password}, check=True)
        yield Postgres(port, password)
    finally:
        _run(["pg_ctl", "-D", data, "-m", "immediate", "stop"])
        shutil.rmtree(folder)


def _run(command: list[str]) -> None:
    assert BIN
    as_other = ["runuser", "-u", USER, "--"] if os.getuid() == 0 else []
    whole = [*as_other, str(BIN / command[0]), *command[1:]]
    subprocess.run(whole, check=True, stdout=subprocess.DEVNULL, cwd="/")


def _certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "key").write_bytes(pem)
    (folder / "key").chmod(0o600)

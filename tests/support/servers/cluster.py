"""Makers of clusters: `dask scheduler` and `dask worker` as people start them, on loopback."""

import datetime
import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.paths import ROOT

DASK = Path(sys.executable).with_name("dask")
QUIET = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")

# Put into a worker by Dask's own --preload: its members behave otherwise. Each utterance that
# is labelled leaves a line, so that a test knows what was done twice.
UNUSUAL_WORKER = """
import os, signal, time
from stages.members.trained_member import LoadedModel

known = LoadedModel.log_posteriors
usual = getattr(known, "usual", known)  # this file may be loaded twice

def unusual(member, batch):
    logp_BTC = usual(member, batch)
    for piece in batch.pieces:
        id = piece.utterance.id
        with open({log!r}, "a") as file:
            file.write(f"{{os.getpid()}} {{id}}\\n")
        {act}
    return logp_BTC

unusual.usual = usual
LoadedModel.log_posteriors = unusual
"""


class Cluster:
    """A scheduler and its workers in a folder; `stop` ends what is left of them."""

    def __init__(self, folder: Path, *, tls: Sequence[str] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / "labelled.txt"
        self._tls = tuple(tls)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self.start_scheduler()

    def start_scheduler(self, *, port: int = 0) -> subprocess.Popen[bytes]:
        """`dask scheduler`; sets `address`."""
        listed = self.folder / "scheduler.json"
        listed.unlink(missing_ok=True)
        where = ("--host", f"{'tls' if self._tls else 'tcp'}://127.0.0.1:{port}")
        started = self._start("scheduler", *where, "--scheduler-file", str(listed))
        wait_for(lambda: listed.is_file() and listed.stat().st_size > 0)
        self.address: str = json.loads(listed.read_text())["address"]
        return started

    def start_worker(
        self, act: str = "pass", *, path: Sequence[Path] = (), words: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """`dask worker`, whose members do `act` after each utterance."""
        preload = self.folder / f"unusual_{len(self._processes)}.py"
        preload.write_text(UNUSUAL_WORKER.format(log=str(self.log), act=act))
        how = ("--nthreads", "1", "--host", "127.0.0.1", "--local-directory", str(self.folder))
        return self._start(
            "worker", self.address, *how, "--preload", str(preload), *words, path=path
        )

    def labelled(self) -> list[tuple[int, str]]:
        """(process, utterance) of all that was labelled, in order."""
        if not self.log.is_file():
            return []
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [(int(pid), id) for pid, id in lines]

    def _start(self, *words: str, path: Sequence[Path] = ()) -> subprocess.Popen[bytes]:
        with (self.folder / "dask.log").open("ab") as log:
            process = subprocess.Popen(
                [str(DASK), *words, *self._tls, *QUIET],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": ":".join(map(str, [*path, ROOT]))},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def stop(self) -> None:
        """End all of it; each process has a session of its own, with its children."""
        for process in self._processes:
            kill_session(process)


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a process that was started here, and to all of its session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(condition: Callable[[], object], *, seconds: float = 60) -> None:
    """Until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.02)


def make_certificates(folder: Path) -> dict[str, Path]:
    """An authority, and a certificate for 127.0.0.1 that it signed: ca, cert, key."""
    folder.mkdir(parents=True)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = _name("essence test authority")
    ca = _certificate(ca_name, ca_name, ca_key.public_key(), signer=ca_key, is_authority=True)
    cert = _certificate(_name("essence"), ca_name, key.public_key(), signer=ca_key)
    pem = serialization.Encoding.PEM
    contents = {
        "ca": ca.public_bytes(pem),
        "cert": cert.public_bytes(pem),
        "key": key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    }
    for name, content in contents.items():
        (folder / f"{name}.pem").write_bytes(content)
    return {name: folder / f"{name}.pem" for name in contents}


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    signer: ec.EllipticCurvePrivateKey,
    is_authority: bool = False,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    here = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([here]), critical=False)
        .sign(signer, hashes.SHA256())
    )

"""Makers of servers on this machine: nginx, sshd, S3's protocol, a link that is cut."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest

from tests.support.paths import DOCS

LOOPBACK = "127.0.0.1"
START_SECONDS = 10.0


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as asked:
        asked.bind((LOOPBACK, 0))
        return int(asked.getsockname()[1])


def need(program: str) -> str:
    """Where a program lies; without it the test is skipped, with the Debian package's name."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        package = {"sshd": "openssh-server", "ssh-keygen": "openssh-client"}.get(program, program)
        pytest.skip(f"{program} is not installed: apt-get install {package}")
    return found


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when it listens; the test is skipped where it cannot."""
    with log.open("wb") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        end = time.monotonic() + START_SECONDS
        while not listens(port):
            if server.poll() is not None or time.monotonic() > end:
                pytest.skip(f"{command[0]} does not start here: {log.read_text()[-300:]}")
            time.sleep(0.01)
        yield server
    finally:
        server.terminate()
        server.wait(10)


def listens(port: int) -> bool:
    """Does somebody?"""
    with suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
        return True
    return False


NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{server}
}}
"""
PAGE = DOCS / "sharing.md"


def documented_server(root: Path, port: int) -> str:
    """The server of docs/sharing.md, at another port and folder."""
    text = PAGE.read_text("utf-8").split("```nginx\n")[1].split("```")[0]
    assert "listen 80;" in text
    assert "root /srv/caches;" in text
    text = text.replace("listen 80;", f"listen {LOOPBACK}:{port};")
    return text.replace("root /srv/caches;", f"root {root};")


@contextmanager
def nginx(root: Path, folder: Path) -> Iterator[int]:
    """nginx, giving the files below `root`. Its port; it logs to folder/access.log."""
    program, port = need("nginx"), free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, server=documented_server(root, port)))
    command = [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)]
    with running(command, port, folder / "nginx.log"):
        yield port


SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/me.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
Subsystem sftp internal-sftp
"""


@contextmanager
def sshd(folder: Path) -> Iterator[str]:
    """OpenSSH's server for the user who runs this, known in HOME/.ssh. Its sftp:// address."""
    program, keygen, port = need("sshd"), need("ssh-keygen"), free_port()
    for name in ("host", "me"):
        command = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    (folder / "sshd_config").write_text(SSHD.format(folder=folder, port=port))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd insists on it
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    shutil.copy(folder / "me", home / ".ssh" / "id_ed25519")
    key = (folder / "host.pub").read_text().split()
    (home / ".ssh" / "known_hosts").write_text(f"[{LOOPBACK}]:{port} {key[0]} {key[1]}\n")
    command = [program, "-D", "-e", "-f", str(folder / "sshd_config")]
    with running(command, port, folder / "sshd.log"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        yield f"sftp://{getpass.getuser()}@{LOOPBACK}:{port}"


@contextmanager
def s3_server(bucket: str = "bucket") -> Iterator[str]:
    """moto's server with one empty bucket; the environment says where it is. Its s3:// address."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install s3fs")
    pytest.importorskip("flask", reason="pip install 'moto[server]'")
    moto = pytest.importorskip("moto.server", reason="pip install 'moto[server]'")
    import s3fs

    server = moto.ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "me")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir(bucket)
        try:
            yield f"s3://{bucket}"
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            server.stop()


class Link:
    """A TCP proxy: a link that can be slow, and is cut after so many bytes to the client."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self.bytes_left = 1 << 60
        self.pause_seconds = 0.0  # before each piece of at most 16 KiB
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = int(self._listener.getsockname()[1])
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Nobody comes through any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.bytes_left <= 0:
                    client.close()
                    continue
                server = socket.create_connection((LOOPBACK, self._to_port))
                Thread(target=self._carry, args=(client, server), daemon=True).start()
                Thread(target=self._carry_back, args=(server, client), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while piece := client.recv(1 << 14):
                server.sendall(piece)
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _carry_back(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while piece := server.recv(1 << 14):
                time.sleep(self.pause_seconds)
                client.sendall(piece[: max(self.bytes_left, 0)])
                self.bytes_left -= len(piece)
                if self.bytes_left <= 0:
                    break
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def link(to_port: int) -> Iterator[Link]:
    """A link to a server here."""
    made = Link(to_port)
    try:
        yield made
    finally:
        made.close()

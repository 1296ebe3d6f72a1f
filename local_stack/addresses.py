"""Where the parts listen, from the environment."""

import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from local_stack.terminal import StartError

_PORTS = {"https_port": 8443, "http_port": 8080, "api_port": 5000, "ui_port": 8501, "training_api_port": 5001}

# Addresses that mean "every address of this machine"; a client needs one of them.
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
_LOCAL = {"127.0.0.1", "::1"}


@dataclass(frozen=True)
class Addresses:
    """The bind address, and the ports of the parts."""

    bind_address: str
    https_port: int
    http_port: int
    api_port: int
    ui_port: int
    training_api_port: int

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Addresses":
        """Read BIND_ADDRESS, HTTPS_PORT, HTTP_PORT, API_PORT, UI_PORT and TRAINING_API_PORT.

        Raises:
            StartError: a port is not valid, or two parts have the same one.
        """
        ports: dict[str, int] = {}
        for name, default in _PORTS.items():
            text = environ.get(name.upper()) or str(default)
            if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
                raise StartError(f"{name.upper()}={text!r} is not a port; use a number from 1 to 65535.")
            if int(text) in ports.values():
                raise StartError(f"{name.upper()}={text} is used twice; give each part a port of its own.")
            ports[name] = int(text)
        return cls(bind_address=environ.get("BIND_ADDRESS") or "127.0.0.1", **ports)

    @property
    def client_host(self) -> str:
        """Return the host for a client on this machine, in brackets if it is an IPv6 address."""
        address = _WILDCARDS.get(self.bind_address, self.bind_address)
        return f"[{address}]" if ":" in address else address

    @property
    def shown_host(self) -> str:
        """Return the host that users see; the certificate contains localhost."""
        address = _WILDCARDS.get(self.bind_address, self.bind_address)
        return "localhost" if address in _LOCAL else self.client_host

    def url(self, port: int, scheme: str = "http") -> str:
        """Return the base URL of a port for a client on this machine."""
        return f"{scheme}://{self.client_host}:{port}"

    def check_free(self) -> None:
        """Check that every port is free.

        Raises:
            StartError: it names every port that is not, and its variable.
        """
        taken = []
        for name in _PORTS:
            port = getattr(self, name)
            try:
                _try_port(self.bind_address, port)
            except socket.gaierror:
                raise StartError(f"BIND_ADDRESS={self.bind_address!r} is not an address of this machine.") from None
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    raise StartError(f"BIND_ADDRESS={self.bind_address!r} is not an address of this machine.") from None
                why = "needs root" if error.errno == errno.EACCES else "is already in use"
                taken.append(f"port {port} ({name.upper()}) {why}")
        if taken:
            example = taken[0].split("(")[1].split(")")[0]
            raise StartError(
                f"On {self.bind_address} {' and '.join(taken)}; stop what uses it, or choose another:"
                f" {example}=<port> make run."
            )


def _try_port(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the servers do: a connection of the previous run may still be in TIME_WAIT.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))

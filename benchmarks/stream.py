"""Clients that send a file repeatedly, until killed: `python -m benchmarks.stream URL CONTENT_TYPE FILE CLIENTS`."""

import os
import sys
import threading
from pathlib import Path

from benchmarks.http_client import send_file


def main(url: str, content_type: str, path: str, clients: str) -> None:
    """Print a line for each complete answer; the first failure ends all clients."""

    def send() -> None:
        while True:
            try:
                transfer = send_file(url, Path(path), content_type)
            except Exception as error:
                print(f"{error}", flush=True)
                os._exit(1)
            print(f"file of {transfer.answer_lines} lines in {transfer.seconds:.2f} s", flush=True)

    threads = [threading.Thread(target=send) for _ in range(int(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])

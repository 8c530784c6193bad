"""A package index server with a thread for each client: ``python threads_server.py 8080``."""

import socket
import sys
import threading
from contextlib import suppress

from scoop_core import Connection, DependencyGraph

graph = DependencyGraph()
graph_lock = threading.Lock()


def serve(client: socket.socket) -> None:
    connection = Connection()
    with client, suppress(ConnectionError):
        while data := client.recv(65_536):
            lines = connection.receive(data)
            with graph_lock:
                answers = graph.apply_lines(lines)
            client.sendall(answers.encode())


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as listener:
        print("listening on port", listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client,), daemon=True).start()


with suppress(KeyboardInterrupt):
    main(int(sys.argv[1]))

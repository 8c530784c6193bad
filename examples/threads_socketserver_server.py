"""A package index server in the frame of socketserver: ``python threads_socketserver_server.py 8080``."""

import socketserver
import sys
import threading
from contextlib import suppress

from scoop_core import Connection, DependencyGraph

graph = DependencyGraph()
graph_lock = threading.Lock()


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        connection = Connection()
        with suppress(ConnectionError):
            while data := self.request.recv(65_536):
                lines = connection.receive(data)
                with graph_lock:
                    answers = graph.apply_lines(lines)
                self.request.sendall(answers.encode())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


with suppress(KeyboardInterrupt), Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
    print("listening on port", server.server_address[1], flush=True)
    server.serve_forever()

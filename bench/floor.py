"""The lower bound: a server that does only what every server in Python must do.

One thread, one selector; each ready client is read, and each newline answered OK with one send. It parses nothing, and
handles only what the load generator does. It runs as a file, prints its address on stderr, and ends on SIGTERM.
"""

import selectors
import socket
import sys


def main() -> None:
    """Serve on a free port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0), backlog=4_096) as listener, selectors.DefaultSelector() as selector:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
        selector.register(listener, selectors.EVENT_READ)
        print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    client, _ = listener.accept()
                    client.setblocking(False)
                    selector.register(client, selectors.EVENT_READ, client)
                    continue
                client = key.data
                data = client.recv(65_536)
                if data:
                    client.send(b"OK\n" * data.count(b"\n"))
                else:
                    selector.unregister(client)
                    client.close()


if __name__ == "__main__":
    main()

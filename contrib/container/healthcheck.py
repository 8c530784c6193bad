"""Ask the server in this container whether it is ready; the exit status is 0 where it is, and 1 where it is not.

It asks the admin endpoint, at the address in SCOOP_ADMIN: that works with and without TLS for clients.
"""

import http.client
import os
import sys

SECONDS_MAX = 4.0


def main() -> int:
    """Ask /readyz."""
    port = int(os.environ["SCOOP_ADMIN"].rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS_MAX)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        print(response.status, response.read(1_000).decode("ascii", "replace").strip())
    except OSError as error:
        print(error)
        return 1
    finally:
        connection.close()
    return 0 if response.status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())

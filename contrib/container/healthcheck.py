"""The health check of the container: exits with 0 if the server is ready, and 1 if not.

It queries the admin endpoint at SCOOP_ADMIN, which never uses TLS.
"""

import http.client
import os
import sys

SECONDS_MAX = 4.0


def main() -> int:
    """Query /readyz, print the response and return the exit status."""
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

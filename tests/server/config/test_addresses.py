import os

import pytest

from scoop_server.config.addresses import (
    Address,
    InternetAddress,
    UnixAddress,
    are_sockets_handed_over,
    parse_address,
    parse_host_and_port,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp:127.0.0.1:8080", InternetAddress("127.0.0.1", 8080)),
        ("tcp:localhost:0", InternetAddress("localhost", 0)),
        ("tcp:[::1]:8080", InternetAddress("::1", 8080)),
        ("tcp:[fe80::1%eth0]:65535", InternetAddress("fe80::1%eth0", 65_535)),
        ("tls:[::]:8443", InternetAddress("::", 8443, is_tls=True)),
        ("tls:scoop.example:8443", InternetAddress("scoop.example", 8443, is_tls=True)),
        ("unix:/run/scoop.sock", UnixAddress("/run/scoop.sock")),
        ("unix:a:b, c", UnixAddress("a:b, c")),
        ("unix:" + 107 * "p", UnixAddress(107 * "p")),
    ],
)
def test_an_address_is_formatted_as_it_was_parsed(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "8080", "127.0.0.1:8080", "http:h:80", "TCP:h:80", "[::1]:80"])
def test_an_unknown_scheme_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected tcp:HOST:PORT, tls:HOST:PORT or unix:PATH, got "):
        parse_address(text)


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "h",
        "h:",
        ":80",
        "h:80:80",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[]:80",
        "h:-1",
        "h:+1",
        "h:1_0",
        "h:http",
        "h 1:80",
        "h:123456",
        "h:\u0662",
        "h:80\n",
        "[h]h:80",
        "[:80",
        "h\0:80",
    ],
)
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_anything_but_a_host_and_a_port_is_rejected(scheme: str, rest: str) -> None:
    with pytest.raises(ValueError, match=r"^expected HOST:PORT, with an IPv6 address in brackets, got ") as error:
        parse_address(f"{scheme}:{rest}")
    assert "\n" not in str(error.value)


def test_a_port_is_at_most_65535() -> None:
    assert parse_host_and_port("h:65535") == ("h", 65_535)
    with pytest.raises(ValueError, match=r"^expected a port from 0 to 65535, got 65536$"):
        parse_host_and_port("h:65536")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", "expected unix:PATH, got "),
        ("a\0b", "expected unix:PATH, got "),
        (54 * "\xe9", "expected a socket path of at most 107 bytes, got "),
    ],
    ids=["empty", "zero byte", "too long"],
)
def test_a_path_that_a_socket_cannot_have_is_rejected(path: str, line: str) -> None:
    with pytest.raises(ValueError, match=f"^{line}"):
        parse_address(f"unix:{path}")


def test_sockets_are_passed_to_one_process() -> None:
    own = str(os.getpid())
    for process, count, are_there in ((own, "1", True), (own, "", False), ("1", "1", False)):
        assert are_sockets_handed_over({"LISTEN_PID": process, "LISTEN_FDS": count}) == are_there
    assert not are_sockets_handed_over({})

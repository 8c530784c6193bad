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
def test_an_address_is_read_and_written_in_the_same_way(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "8080", "127.0.0.1:8080", "http:h:80", "TCP:h:80", "[::1]:80"])
def test_another_scheme_is_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"^tcp:HOST:PORT, tls:HOST:PORT or unix:PATH is wanted, not "):
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
def test_a_host_and_a_port_are_wanted(scheme: str, rest: str) -> None:
    with pytest.raises(ValueError, match=r"^HOST:PORT is wanted, with an IPv6 address in brackets, not ") as error:
        parse_address(f"{scheme}:{rest}")
    assert "\n" not in str(error.value)


def test_a_port_has_a_largest_number() -> None:
    assert parse_host_and_port("h:65535") == ("h", 65_535)
    with pytest.raises(ValueError, match=r"^a port from 0 to 65535 is wanted, not 65536$"):
        parse_host_and_port("h:65536")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", "unix:PATH is wanted"),
        ("a\0b", "unix:PATH is wanted"),
        (54 * "\xe9", "the path of a socket has at most 107 "),
    ],
    ids=["empty", "zero byte", "too long"],
)
def test_a_path_that_no_socket_can_have(path: str, line: str) -> None:
    with pytest.raises(ValueError, match=f"^{line}"):
        parse_address(f"unix:{path}")


def test_sockets_are_handed_over_to_one_process() -> None:
    own = str(os.getpid())
    for process, count, are_there in ((own, "1", True), (own, "", False), ("1", "1", False)):
        assert are_sockets_handed_over({"LISTEN_PID": process, "LISTEN_FDS": count}) == are_there
    assert not are_sockets_handed_over({})

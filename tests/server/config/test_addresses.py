"""Addresses to listen on; scoop_core parses what every address has."""

import os

import pytest

from scoop_server.config.addresses import are_sockets_handed_over, parse_listen_address


@pytest.mark.parametrize("text", ["tcp:localhost:0", "tls:[::]:8443", f"unix:{107 * 'p'}"])
def test_an_address_is_formatted_as_it_was_parsed(text: str) -> None:
    assert str(parse_listen_address(text)) == text


@pytest.mark.parametrize("text", ["", "8080", "127.0.0.1:8080", "http:h:80", "TCP:h:80", "[::1]:80", "unix:", "tls:"])
def test_an_address_has_a_scheme(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected tcp:HOST:PORT, tls:HOST:PORT or unix:PATH, got "):
        parse_listen_address(text)


def test_a_path_that_a_socket_cannot_have_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"^expected a socket path of at most 107 bytes, got "):
        parse_listen_address(f"unix:{54 * chr(0xE9)}")


def test_sockets_are_passed_to_one_process() -> None:
    own = str(os.getpid())
    for process, count, are_there in ((own, "1", True), (own, "", False), ("1", "1", False)):
        assert are_sockets_handed_over({"LISTEN_PID": process, "LISTEN_FDS": count}) == are_there
    assert not are_sockets_handed_over({})

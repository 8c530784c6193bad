"""Addresses of servers, as people write them."""

import pytest

from scoop_core import Address, InternetAddress, UnixAddress, parse_address, parse_host_and_port


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp:127.0.0.1:8080", InternetAddress("127.0.0.1", 8080)),
        ("tcp:[fe80::1%eth0]:65535", InternetAddress("fe80::1%eth0", 65_535)),
        ("tls:[::]:8443", InternetAddress("::", 8443, is_tls=True)),
        ("tls:scoop.example:1", InternetAddress("scoop.example", 1, is_tls=True)),
        ("unix:a:b, c", UnixAddress("a:b, c")),
        ("unix:80", UnixAddress("80")),
    ],
)
def test_an_address_is_formatted_as_it_was_parsed(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text
    assert parse_address(text.removeprefix("tcp:")) == address


@pytest.mark.parametrize("text", ["", "8080", "h:", "http:h:80", "TCP:h:80", "::1:80", "unix:", "unix:\0:1"])
def test_an_unknown_form_is_rejected_with_all_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected HOST:PORT, tcp:HOST:PORT, tls:HOST:PORT or unix:PATH, got "):
        parse_address(text)


@pytest.mark.parametrize(
    "rest",
    [
        *["", "h", "h:", ":80", "h:80:80", "::1:80", "[::1]", "[::1]80", "[]:80", "h:-1", "h:+1", "h:1_0", "h:http"],
        *["h 1:80", "h:123456", "h:\u0662", "h:80\n", "[h]h:80", "[:80", "h\0:80"],
    ],
)
@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_anything_but_a_host_and_a_port_is_rejected(scheme: str, rest: str) -> None:
    with pytest.raises(ValueError, match=r"^expected HOST:PORT, with an IPv6 address in brackets, got ") as error:
        parse_address(f"{scheme}:{rest}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("text", "port_min"), [("h:65536", 0), ("h:65536", 1), ("h:0", 1)])
def test_a_port_out_of_range_is_rejected(text: str, port_min: int) -> None:
    for parse in (parse_address, parse_host_and_port):
        with pytest.raises(ValueError, match=f"^expected a port from {port_min} to 65535, got '{text}'$"):
            parse(text, port_min=port_min)
    assert parse_address("h:0", port_min=0) == InternetAddress("h", 0)

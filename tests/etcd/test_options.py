"""The options of replication."""

import pytest

from scoop_etcd.options import EtcdSettings, Reads

from tests.support.settings import problems, read_settings


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("http://10.0.0.1:2379", "http://10.0.0.1:2379"),
        ("https://[::1]:2379/, https://etcd-1.example:2379", "https://[::1]:2379,https://etcd-1.example:2379"),
        ("http://a:1,http://a:1", "http://a:1"),
    ],
)
def test_the_urls_of_all_endpoints_are_one_value(given: str, shown: str) -> None:
    assert str(read_settings(["--etcd", given], {}).part(EtcdSettings).urls) == shown


@pytest.mark.parametrize(
    "url", ["h:1", "http://h", "http://:1", "http://h:x", "ftp://h:1", "http://h:1/a", "", "http://[:1"]
)
def test_an_endpoint_has_a_scheme_a_host_and_a_port(url: str) -> None:
    [problem] = problems([f"--etcd=http://a:1,{url}"], {})
    assert problem == f"--etcd: expected https://HOST:PORT or http://HOST:PORT, separated by commas, got {url!r}"


def test_endpoints_with_and_without_tls_cannot_be_mixed() -> None:
    [problem] = problems(["--etcd", "http://a:1,https://b:1"], {})
    assert problem == "--etcd: expected https: for all endpoints or http: for all, got both"


def test_a_password_in_a_url_is_rejected_and_not_repeated() -> None:
    [problem] = problems(["--etcd", "http://root:secret@h:1"], {})
    assert problem == "--etcd: expected URLs without a user; set it with --etcd-user"


def test_a_prefix_ends_with_a_slash() -> None:
    assert read_settings(["--etcd", "http://a:1", "--etcd-prefix", "/team"], {}).part(EtcdSettings).prefix == "/team/"


@pytest.mark.parametrize("prefix", ["/", "", "a\nb", "ä", "a" * 256])
def test_a_prefix_is_printable_and_not_the_root(prefix: str) -> None:
    [problem] = problems(["--etcd", "http://a:1", "--etcd-prefix", prefix], {})
    assert problem.startswith("--etcd-prefix: expected a prefix of 1 to 255 printable ASCII characters")


def test_reads_are_linearizable_by_default() -> None:
    assert read_settings([], {}).part(EtcdSettings).reads is Reads.LINEARIZABLE
    assert read_settings(["--etcd", "http://a:1", "--reads", "local"], {}).part(EtcdSettings).reads is Reads.LOCAL

"""Access policies: which clients a listener accepts, and what they may do.

A policy follows an address or a socket's name after a question mark, options separated by ``&``:

``read-only``     QUERY is answered as usual, INDEX and REMOVE are answered ERROR
``anonymous``     clients need no certificate, although ``--tls-client-ca`` is set
``subject=NAME``  the client's certificate has this name: its common name, or a DNS name, e-mail address or URI
``issuer=NAME``   the issuer of the client's certificate has this common name
``max-clients=N`` at most so many clients of this listener are connected at a time

``subject`` and ``issuer`` may be repeated: one of the names must match. ``%20`` in a name is a space, ``%26`` is ``&``.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

_READ_ONLY: Final = "read-only"

_ANONYMOUS: Final = "anonymous"

_NAMES: Final = ("subject", "issuer")

_MAX_CLIENTS: Final = "max-clients"

_is_option: Final = re.compile(
    "read-only|anonymous|(subject|issuer)=([^%]|%[0-9A-Fa-f]{2})+|max-clients=(?!0+$)[0-9]{1,6}", re.DOTALL
).fullmatch

_EXPECTED: Final = "read-only, anonymous, subject=NAME, issuer=NAME or max-clients=N"


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The restrictions of one listener; by default no restriction."""

    is_read_only: bool = False
    is_anonymous: bool = False
    """True if clients need no certificate even if the server knows their authorities."""
    subjects: tuple[str, ...] = ()
    """Names of which a client's certificate must have one; empty accepts any."""
    issuers: tuple[str, ...] = ()
    """Common names of which the certificate's issuer must have one; empty accepts any."""
    clients_max: int = 0
    """Clients of the listener that may be connected at a time; 0 sets no limit of its own."""

    @property
    def requires_certificate(self) -> bool:
        """Return whether it can be met only by a client with a certificate."""
        return bool(self.subjects or self.issuers)

    def __str__(self) -> str:
        """Return the policy as it is written after an address, with its question mark; empty for no restriction."""
        options = [_READ_ONLY] if self.is_read_only else []
        options += [_ANONYMOUS] if self.is_anonymous else []
        for key, names in zip(_NAMES, (self.subjects, self.issuers), strict=True):
            options += [f"{key}={quote(name, safe='@:/*')}" for name in names]
        options += [f"{_MAX_CLIENTS}={self.clients_max}"] if self.clients_max else []
        return f"?{'&'.join(options)}" if options else ""


UNRESTRICTED: Final = AccessPolicy()


def split_policy(text: str) -> tuple[str, AccessPolicy]:
    """Return the text before the first question mark, and the policy after it.

    Raises ValueError with one line, also for a question mark without options.

    >>> split_policy("tls:[::]:8443?read-only&subject=a") == ("tls:[::]:8443", AccessPolicy(True, subjects=("a",)))
    True
    >>> split_policy("unix:/run/scoop.sock") == ("unix:/run/scoop.sock", UNRESTRICTED)
    True
    """
    place, question_mark, options = text.partition("?")
    if not question_mark:
        return place, UNRESTRICTED
    values: dict[str, list[str]] = {}
    for option in options.split("&"):
        key, _, value = option.partition("=")
        name = unquote(value)
        if not _is_option(option) or "\ufffd" in name:  # what is not UTF-8 becomes this character
            raise ValueError(f"expected {_EXPECTED} after the question mark of {text!r}, got {option!r}")
        values.setdefault(key, []).append(name)
    subjects, issuers = (tuple(values.get(key, ())) for key in _NAMES)
    clients_max = int(values.get(_MAX_CLIENTS, ["0"])[-1])
    policy = AccessPolicy(_READ_ONLY in values, _ANONYMOUS in values, subjects, issuers, clients_max)
    if policy.is_anonymous and policy.requires_certificate:
        raise ValueError(f"expected anonymous without subject and issuer, got {text!r}")
    return place, policy

"""The access rules of a simulated server, which an operator changes while it runs, and a naive model of them."""

from collections.abc import Iterable
from random import Random
from typing import Final

from scoop_core import AccessRole, AccessRules, Command, MalformedRequest, parse_request

from scoop_server.config.peer import Peer
from scoop_server.loop.client import Client, Phase
from scoop_server.loop.server import Server
from scoop_server.ports import Request

IDENTITIES: Final = ("CN=a", "CN=b", "CN=c", "anonymous")
_CHANGE_SHARE: Final = 0.03
"""The share of turns before which the rules change."""
_PARKED_SHARE: Final = 0.2
"""The share while a client is parked, which is rare: it must be closed too, if its role is taken away."""


class RoleOperator:
    """Changes the rules of one server, if ``is_active``, and checks what it executes."""

    def __init__(self, random: Random, *, is_active: bool) -> None:
        self._random = random
        self._is_active = is_active
        self._roles: tuple[AccessRole, ...] | None = None

    def take_turn(self, server: Server) -> None:
        """Take a turn; change the rules or revoke a certificate before it, now and then."""
        has_parked = any(client.phase is Phase.PARKED for client in server._clients)
        if not self._is_active or self._random.random() >= (_PARKED_SHARE if has_parked else _CHANGE_SHARE):
            server.turn()
            return
        roles = tuple(self._role(number) for number in range(3))
        revoked = self._random.choice((b"none", b"CN=a", b"CN=b"))
        server.enforce(AccessRules(roles), lambda certificate: certificate == revoked)
        server.turn()
        self._roles = roles
        for client in server._clients:
            assert client.peer.certificate != revoked, "a revoked client is connected"
            assert self._role_of(client.peer) is not None, "a client without a role is connected"

    def check(self, requests: Iterable[Request[Client]]) -> None:
        """Check that roles permit ``requests``, or that they are marked."""
        for client, lines in requests:
            for line in lines.split("\n")[:-1] if self._roles is not None else ():
                role = self._role_of(client.peer)
                assert role is not None
                assert self._permits(role, line), f"role {role.name} does not permit {line!r}"

    def _role(self, number: int) -> AccessRole:
        some = self._random.sample
        identities = (*some(IDENTITIES, self._random.randrange(1, 4)), *(("CN=*",) * (self._random.random() < 0.5)))
        packages = self._random.choice((("*",), ("a*", "b"), ("c",)))
        return AccessRole(
            f"role{number}", identities, tuple(some(list(Command), self._random.randrange(1, 4))), packages
        )

    def _role_of(self, peer: Peer) -> AccessRole | None:
        for role in self._roles or ():
            names = {name for pattern in role.identities for name in (IDENTITIES[:3] if "*" in pattern else (pattern,))}
            if names.intersection(peer.names or ("anonymous",)):
                return role
        return None

    @staticmethod
    def _permits(role: AccessRole, line: str) -> bool:
        try:
            request = parse_request(line)
        except MalformedRequest:
            return True
        names = {"*": "abcdef", "a*": "a"}
        packages = {name for pattern in role.packages for name in names.get(pattern, pattern)}
        return request.command in role.commands and (request.command is Command.QUERY or request.package in packages)

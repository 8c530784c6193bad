"""The admission of clients: access rules, revocation, and fair shares of the places."""

from collections import Counter
from collections.abc import Callable

from scoop_core import AccessRules

from scoop_server.config.limits import Limits
from scoop_server.config.peer import Peer, quote_name


class Gate:
    """Admits peers to the places of clients, within ``limits`` and the rules."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.admits_named = False
        """True if peers may have a name at a listener; then anonymous ones leave some places to them."""
        self.rules: AccessRules | None = None
        self.is_revoked: Callable[[bytes], bool] = lambda _: False
        """Returns whether a certificate is revoked."""
        self.places = Counter[str]()
        """The places of each holder."""
        self._listeners = Counter[str]()
        self._total = self._anonymous = 0

    def judge(self, peer: Peer) -> str:
        """Give ``peer`` its role; return why it may not be connected, empty if it may."""
        if peer.certificate and self.is_revoked(peer.certificate):
            return "its certificate is revoked"
        if self.rules is None:
            return ""
        role = self.rules.role_of(peer.identities)
        if role is None:
            return f"no role names {', '.join(map(quote_name, peer.identities))}"
        peer.role, peer.screen = role.name, role.screen
        return ""

    def exhausted_limit(self, peer: Peer) -> str:
        """Return the limit that one more connection of ``peer`` would exceed; empty if none."""
        limits = self._limits
        anonymous_max = limits.clients_max - limits.clients_max // 4  # the rest is for those with a name
        holder_max = limits.clients_per_peer_max or max(limits.clients_max // 4, 1)
        if self._total >= limits.clients_max:
            return f"{limits.clients_max}"
        if self.admits_named and not peer.names and self._anonymous >= anonymous_max:
            return f"{anonymous_max} for anonymous ones"
        if self.places[peer.holder] >= holder_max:
            return f"{holder_max} of {peer.holder}"
        if peer.policy.clients_max and self._listeners[peer.listener] >= peer.policy.clients_max:
            return f"{peer.policy.clients_max} of {peer.listener}"
        return ""

    def enter(self, peer: Peer) -> None:
        """Give ``peer`` a place."""
        self._count(peer, 1)

    def leave(self, peer: Peer) -> None:
        """Take the place of ``peer``."""
        self._count(peer, -1)
        if not self.places[peer.holder]:  # of all the addresses that ever connect, only those that hold places
            del self.places[peer.holder]

    def _count(self, peer: Peer, step: int) -> None:
        self.places[peer.holder] += step
        self._listeners[peer.listener] += step
        self._anonymous += 0 if peer.names else step
        self._total += step

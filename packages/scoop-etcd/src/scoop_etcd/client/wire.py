"""The translation between the values of the port and the bytes of etcd's messages. Pure: no input and output."""

import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeAlias

from scoop_etcd.client import rpc_pb2 as rpc
from scoop_etcd.client.api import (
    Compare,
    Delete,
    ErrorCode,
    Failure,
    KeyValue,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseResult,
    Operation,
    Put,
    Range,
    RangeResult,
    Result,
    Target,
    Txn,
    TxnResult,
    Watch,
    WatchEnded,
    WatchEvents,
)
from scoop_etcd.client.failures import error_code

UnaryRequest: TypeAlias = Range | Txn | LeaseGrant | LeaseKeepAlive


class Exchange(NamedTuple):
    """A call with one response: its method, the bytes of its request, and the result that a response means."""

    method: str
    data: bytes
    result: Callable[[bytes], Result]


WATCH_METHOD: Final = "/etcdserverpb.Watch/Watch"

_TARGETS: Final = {
    Target.CREATE_REVISION: rpc.Compare.CREATE,
    Target.MOD_REVISION: rpc.Compare.MOD,
}


def exchange(request: UnaryRequest) -> Exchange:
    """Return the call that executes ``request``."""
    match request:
        case Range():
            return Exchange("/etcdserverpb.KV/Range", _range(request).SerializeToString(), _range_result)
        case Txn():
            return Exchange("/etcdserverpb.KV/Txn", _txn(request).SerializeToString(), _txn_result)
        case LeaseGrant(ttl):
            data = rpc.LeaseGrantRequest(TTL=ttl).SerializeToString()
            return Exchange("/etcdserverpb.Lease/LeaseGrant", data, _granted)
        case LeaseKeepAlive(lease):
            # A stream of etcd's, of which one request and its response are a complete exchange.
            data = rpc.LeaseKeepAliveRequest(ID=lease).SerializeToString()
            return Exchange("/etcdserverpb.Lease/LeaseKeepAlive", data, _kept_alive)


def authentication(user: str, password: str) -> tuple[str, bytes]:
    """Return the method and the request that authenticate a user."""
    request = rpc.AuthenticateRequest(name=user, password=password)
    return "/etcdserverpb.Auth/Authenticate", request.SerializeToString()


def token(data: bytes) -> str:
    """Return the token of the response to an authentication."""
    given: str = rpc.AuthenticateResponse.FromString(data).token
    return given


def watch_request(watch: Watch) -> bytes:
    """Return the request that opens ``watch``."""
    create = rpc.WatchCreateRequest(
        key=watch.key,
        range_end=watch.range_end,
        start_revision=watch.start_revision,
        progress_notify=True,
        filters=[rpc.WatchCreateRequest.NODELETE],
        fragment=True,
    )
    data: bytes = rpc.WatchRequest(create_request=create).SerializeToString()
    return data


def watch_result(data: bytes) -> WatchEvents | WatchEnded | None:
    """Return what a response of a watch means; None for the confirmation that the watch was created."""
    response = rpc.WatchResponse.FromString(data)
    if response.compact_revision:
        return WatchEnded(ErrorCode.COMPACTED, "the revision has been compacted")
    if response.canceled:
        return WatchEnded(_cancel_code(response.cancel_reason), response.cancel_reason or "etcd cancelled the watch")
    if response.created:
        return None
    return WatchEvents(_key_values(event.kv for event in response.events))


def _cancel_code(reason: str) -> ErrorCode:
    """Return the code of the status in ``reason``: ``rpc error: code = PermissionDenied desc = ...``."""
    status = re.search("code = ([A-Za-z]+)", reason)
    return error_code(re.sub("(?<=[a-z])(?=[A-Z])", "_", status[1]).upper() if status else "", reason)


# Requests


def _range(request: Range) -> rpc.RangeRequest:
    return rpc.RangeRequest(
        key=request.key,
        range_end=request.range_end,
        revision=request.revision,
        limit=request.limit,
        keys_only=request.keys_only,
    )


def _txn(request: Txn) -> rpc.TxnRequest:
    return rpc.TxnRequest(
        compare=map(_compare, request.compare),
        success=map(_operation, request.success),
        failure=map(_operation, request.failure),
    )


def _compare(condition: Compare) -> rpc.Compare:
    target, expected = _TARGETS[condition.target], condition.expected
    match condition.target:
        case Target.CREATE_REVISION:
            return rpc.Compare(key=condition.key, target=target, create_revision=expected)
        case Target.MOD_REVISION:
            return rpc.Compare(key=condition.key, target=target, mod_revision=expected)


def _operation(operation: Operation) -> rpc.RequestOp:
    match operation:
        case Put(key, value, lease):
            return rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value, lease=lease))
        case Delete(key, range_end):
            return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key, range_end=range_end))
        case Range():
            return rpc.RequestOp(request_range=_range(operation))


# Results


def _key_values(messages: Iterable[rpc.KeyValue]) -> tuple[KeyValue, ...]:
    return tuple(
        KeyValue(each.key, each.value, each.create_revision, each.mod_revision, each.lease) for each in messages
    )


def _range_of(response: rpc.RangeResponse, revision: int) -> RangeResult:
    return RangeResult(revision, _key_values(response.kvs), response.more)


def _range_result(data: bytes) -> Result:
    response = rpc.RangeResponse.FromString(data)
    return _range_of(response, response.header.revision)


def _txn_result(data: bytes) -> Result:
    response = rpc.TxnResponse.FromString(data)
    revision = response.header.revision
    ranges = (
        _range_of(each.response_range, revision) for each in response.responses if each.HasField("response_range")
    )
    return TxnResult(revision, response.succeeded, tuple(ranges))


def _granted(data: bytes) -> Result:
    return LeaseResult(rpc.LeaseGrantResponse.FromString(data).ID)


def _kept_alive(data: bytes) -> Result:
    response = rpc.LeaseKeepAliveResponse.FromString(data)
    if response.TTL <= 0:
        return Failure(ErrorCode.LEASE_NOT_FOUND, "the lease has expired")
    return LeaseResult(response.ID)

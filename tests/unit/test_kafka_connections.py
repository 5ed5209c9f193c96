"""A connection that was reset a moment ago is a connection error, whatever the event loop calls it."""

from __future__ import annotations

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError

from services.common import kafka


class Reset(AIOKafkaConnection):  # type: ignore[misc]
    """Made without a socket; `send` is the product's."""

    def __init__(self) -> None:
        self.closed = False

    @property
    def _writer(self) -> object:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    def close(self, reason: object = None, exc: object = None) -> None:
        self.closed = True

    def __del__(self) -> None:
        """Nothing was opened."""


def test_a_write_to_a_closed_transport_is_a_connection_error(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Reset()
    monkeypatch.setattr(AIOKafkaConnection, "send", AIOKafkaConnection.send)  # put back after the test
    with pytest.raises((RuntimeError, KafkaConnectionError)):
        connection.send(None)
    kafka.outlive_closed_connections()
    kafka.outlive_closed_connections()
    with pytest.raises(KafkaConnectionError, match="handler is closed"):
        connection.send(None)
    assert connection.closed

"""The guard of tests/conftest.py guards."""

import socket

import pytest


def test_another_machine_is_out_of_reach() -> None:
    with socket.socket() as one, pytest.raises(AssertionError, match="loopback only"):
        one.connect(("192.0.2.1", 80))


def test_this_machine_is_not() -> None:
    with socket.socket() as server, socket.socket() as one:
        server.bind(("127.0.0.1", 0))
        server.listen()
        one.connect(server.getsockname())

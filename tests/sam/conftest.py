"""The tests share what stands beside them."""

import contextlib
import sys
from pathlib import Path

import boto3
import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def client(tmp_path):
    """Give what makes clients of an app that serves nothing but stacks."""
    from deploying import serving
    from ports import free_port

    store, port = tmp_path / "data", free_port()
    store.mkdir()
    options = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    with (
        serving(
            store, free_port(), "--aws-port", str(port), "--aws-access-log", str(tmp_path / "access.log"), cwd=tmp_path
        ),
        contextlib.ExitStack() as made,
    ):

        def make(service):
            one = boto3.client(service, **options, **keys)
            made.callback(one.close)
            return one

        yield make

"""Modules of handlers that run in processes."""

import pytest


@pytest.fixture
def processes(import_app):
    return import_app("process_app")


@pytest.fixture
def sources(import_app):
    return import_app("process_sources")

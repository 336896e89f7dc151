"""A tracer provider for one test, which keeps every span."""

import importlib
import sys
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from forebay import App


class Spans:
    """What was traced."""

    def __init__(self, exporter, tracer):
        self._exporter = exporter
        self.tracer = tracer

    def all(self):
        return self._exporter.get_finished_spans()

    def named(self, name):
        return [span for span in self.all() if span.name == name]

    def one(self, name):
        found = self.named(name)
        assert len(found) == 1, [span.name for span in self.all()]
        return found[0]


@pytest.fixture
def spans(monkeypatch):
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # A process has one for its whole life; here other tests have none.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return Spans(exporter, provider.get_tracer("test"))


@pytest.fixture
def app(tmp_path, no_task_is_left):
    return App("traced", store=tmp_path / "data", durability="process-crash")


@pytest.fixture
def processes(monkeypatch, tmp_path):
    """Give a module of handlers that run in processes, imported anew with a store of its own."""
    monkeypatch.setenv("FOREBAY_TEST_STORE", str(tmp_path / "store"))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    sys.modules.pop("traced_app", None)
    yield importlib.import_module("traced_app")
    sys.modules.pop("traced_app", None)

"""Run Autobahn's fuzzing client as a specification says it; Jython runs this, so it is in the language of Python 2 and 3.

Usage: fuzz.py SPECIFICATION LIBRARIES

What the client imports and never uses here, TLS and a web server among it, is left out: it wants modules in C.
"""

import json
import sys
import types


def leave_out(name, **names):
    """Stand for a module."""
    module = types.ModuleType(name)
    module.__dict__.update(names)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        __import__(parent)
        setattr(sys.modules[parent], child, module)


def without_init(name):
    """Give a package without running its `__init__`, or one whose wheel has none."""
    package = types.ModuleType(name)
    package.__path__ = [libraries + "/" + name.replace(".", "/")]
    package.__file__ = package.__path__[0] + "/__init__.py"
    package.version = "of the package"
    sys.modules[name] = package


class Nothing(object):  # noqa: UP004  the language of Python 2
    """Stand for a class."""

    def __init__(self, *_):
        """Take anything."""


specification, libraries = sys.argv[1:]
sys.path.insert(0, libraries)
# Twisted's puts a proxy in the place of the package, into which Jython does not look; the suite's starts its command line.
for package in ("twisted", "twisted.python", "zope", "autobahntestsuite"):
    without_init(package)
leave_out("twisted.internet.stdio", PipeAddress=Nothing)
leave_out("twisted.internet.ssl", ClientContextFactory=Nothing)
leave_out("twisted.web")
leave_out("twisted.web.server", Site=Nothing)
leave_out("twisted.web.static", File=Nothing)
sys.path.insert(0, libraries + "/autobahntestsuite")

from twisted.internet import selectreactor  # noqa: E402

selectreactor.install()
import txaio  # noqa: E402
from autobahntestsuite import fuzzing  # noqa: E402
from twisted.internet import reactor  # noqa: E402

txaio.use_twisted()
fuzzing.FuzzingFactory.createMasterReportHTML = lambda *_: None
fuzzing.FuzzingFactory.createAgentCaseReportHTML = lambda *_: None
with open(specification) as file:  # noqa: PTH123  the language of Python 2
    fuzzing.startClient(json.load(file))
reactor.run()

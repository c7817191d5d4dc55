"""The checker of lists finds what is missing, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.compat.api_lists import Parameter, differences, read

LIST = """\
## listed_here
name CONSTANT
class Base (ABC)
   get (self, key: str) -> Optional[dict[str, Any]]
class Client (Base)
   __init__ (self, address: Optional[str] = None, errors: tuple = (<class 'a.B'>,), *, timeout: int = 10, **more: Any)
   classmethod from_text (cls, text: str, *, other='a, b') -> 'Client'
   prop timeout (settable)
   prop state
def connect (address, client: Optional[ForwardRef('Client')] = None) -> Client
"""

GOOD = """
CONSTANT = 1
class Base:
    def get(self, key): ...
class Client(Base):
    def __init__(self, address=None, errors=(OSError,), more_of_it=0, *, timeout=10, **more): ...
    @classmethod
    def from_text(cls, text, *, other="a, b", new=None): ...
    timeout = property(lambda self: 1, lambda self, value: None)
    @property
    def state(self): ...
def connect(address, client=None, *rest): ...
"""


def missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str) -> list[str]:
    module = ModuleType("listed_here")
    exec(source, module.__dict__)
    monkeypatch.setitem(sys.modules, "listed_here", module)
    path = tmp_path / "list.txt"
    path.write_text(LIST)
    return differences(read(path))


def test_a_list_is_read(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(LIST)
    [module] = read(path)
    assert (module.name, module.names, [kind.name for kind in module.kinds]) == (
        "listed_here",
        ["CONSTANT"],
        ["Base", "Client"],
    )
    client = module.kinds[1]
    assert client.properties == [("timeout", True), ("state", False)]
    assert client.methods[0].parameters == (
        Parameter("address", "None"),
        Parameter("errors", "(<class 'a.B'>,)"),
        Parameter("*"),
        Parameter("timeout", "10"),
        Parameter("**more"),
    )
    assert module.functions[0].parameters == (Parameter("address"), Parameter("client", "None"))


def test_a_superset_has_all_that_is_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert missing(monkeypatch, tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("CONSTANT = 1", "", "listed_here.CONSTANT: is not there"),
        ("Client(Base)", "Client", "listed_here.Client: does not inherit from Base"),
        ("def get(self, key)", "def got(self, key)", "listed_here.Base.get: is not there"),
        ("address=None, errors", "other=0, address=None, errors", "address is not at place 1"),
        ("timeout=10", "timeout=11", "timeout is 11 by default, expected 10"),
        ("errors=(OSError,), more_of_it=0, *", "*, errors=()", "errors is not at place 2"),
        ("errors=(OSError,), more_of_it=0, *", "*", "has no parameter errors"),
        (", **more", "", "takes no **more"),
        ("text, *, other", "text, another, *, other", "another is new and has to be given"),
        ("lambda self: 1, lambda self, value: None", "lambda self: 1", "listed_here.Client.timeout: cannot be set"),
        ("@property", "", "listed_here.Client.state: is a method"),
        ("def connect(address, client=None", "def connect(address, client", "client has no default"),
        ("def connect", "def connected", "listed_here.connect: is not there"),
    ],
)
def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in GOOD
    found = missing(monkeypatch, tmp_path, GOOD.replace(old, new, 1))
    assert any(expected in line for line in found), found


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("## nowhere.at_all\n")
    [line] = differences(read(path))
    assert line.startswith("nowhere.at_all: cannot be imported")

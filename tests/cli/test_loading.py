"""How the app that a command is to look at is found."""

import sys

import pytest

from keyguard.cli._failures import ExitCode, Failed
from keyguard.cli._loading import load_app

SOUND = """
import sys
print("importing")

async def app(scope, receive, send): ...

def make():
    print("making")
    return app

def broken():
    raise ValueError("no\\nsettings")

def leaving():
    sys.exit()

class Inner:
    app = staticmethod(app)

class App:
    async def __call__(self, scope, receive, send): ...

class Both:
    def __init__(self, scope, receive, send): ...

class Lazy:
    @property
    def app(self):
        raise ValueError("no settings yet")

number = 7
instance = App()
lazy = Lazy()
old = lambda scope: app
native = dict.fromkeys
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes modules into the current directory, which is not on the path yet; they are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    written = []

    def write(name, text):
        written.append(name)
        (tmp_path / f"{name}.py").write_text(text, "utf-8")

    yield write
    for name in written:
        sys.modules.pop(name, None)


@pytest.fixture
def sound(write):
    write("sound_app", SOUND)


@pytest.mark.parametrize("name", ["app", "Inner.app", "instance"])
def test_an_app_is_found(sound, name):
    """An app is found by its module and its name, in the current directory."""
    assert callable(load_app(f"sound_app:{name}"))
    assert sys.path[0] == str(sys.modules["sound_app"].__file__).removesuffix("/sound_app.py")
    assert callable(load_app("sound_app:app"))
    assert sys.path.count(sys.path[0]) == 1


def test_a_factory_makes_it(sound):
    """With `factory`, what is named is called, and what it returns is the app."""
    assert load_app("sound_app:make", factory=True) is sys.modules["sound_app"].app


def test_what_a_module_prints_goes_to_standard_error(sound, capsys):
    """Standard output is the command's own, whatever is printed while the app is loaded."""
    load_app("sound_app:make", factory=True)
    assert capsys.readouterr() == ("", "importing\nmaking\n")


NO_APP = "is no ASGI app, which is called with scope, receive and send: it is"

MISSING = "missing 3 required positional arguments: 'scope', 'receive', and 'send'"

FAILURES = [
    ("sound_app", False, "the app is named as module:attribute, such as main:app; not 'sound_app'"),
    ("sound_app:", False, "the app is named as module:attribute, such as main:app; not 'sound_app:'"),
    (":app", False, "the app is named as module:attribute, such as main:app; not ':app'"),
    ("no_such_app:app", False, "there is no module no_such_app, neither in {here} nor installed"),
    (
        "sound_app.more:app",
        False,
        "there is no module sound_app.more, neither in {here} nor installed",
    ),
    ("no_such.main:app", False, "there is no module no_such, neither in {here} nor installed"),
    (
        "imports_more:app",
        False,
        "the module imports_more cannot be imported: ModuleNotFoundError: No module named 'yet_more'",
    ),
    ("raises:app", False, "the module raises cannot be imported: RuntimeError: what is the matter"),
    ("leaves:app", False, "the module leaves cannot be imported: SystemExit: 3"),
    ("wrong:app", False, "the module wrong cannot be imported: SyntaxError: invalid syntax (wrong.py, line 1)"),
    ("sound_app:nobody", False, "sound_app has no attribute nobody"),
    ("sound_app:lazy.app", False, "sound_app:lazy.app cannot be looked at: ValueError: no settings yet"),
    ("sound_app:app.more", False, "sound_app has no attribute app.more"),
    (
        "sound_app:number",
        False,
        f"sound_app:number {NO_APP} of type int",
    ),
    (
        "sound_app:Both",
        False,
        f"sound_app:Both {NO_APP} the class Both",
    ),
    (
        "sound_app:old",
        False,
        f"sound_app:old {NO_APP} of type function",
    ),
    ("sound_app:make", False, "sound_app:make is no ASGI app, but perhaps makes one: say --factory if it does"),
    ("sound_app:broken", True, "sound_app:broken makes no app: ValueError: no settings"),
    ("sound_app:leaving", True, "sound_app:leaving makes no app: SystemExit"),
    ("sound_app:number", True, "sound_app:number is no function that makes an app, but of type int"),
    (
        "sound_app:app",
        True,
        f"sound_app:app makes no app: TypeError: app() {MISSING}",
    ),
    ("sound_app:App", True, None),
    (
        "sound_app:native",
        False,
        f"sound_app:native {NO_APP} of type builtin_function_or_method",
    ),
]


@pytest.mark.parametrize(("target", "factory", "sentence"), FAILURES)
def test_what_is_no_app(sound, write, tmp_path, target, factory, sentence):
    """What cannot be loaded is said in one sentence, with the exception's name where the app's code has raised one."""
    write("imports_more", "import yet_more")
    write("raises", "raise RuntimeError('what is the matter')")
    write("leaves", "raise SystemExit(3)")
    write("wrong", "class class")
    if sentence is None:
        assert callable(load_app(target, factory=factory))
        return
    with pytest.raises(Failed) as failure:
        load_app(target, factory=factory)
    assert failure.value.sentence == sentence.replace("{here}", str(tmp_path))
    assert failure.value.code is ExitCode.USAGE


def test_an_app_that_says_nothing_of_its_arguments(write):
    """What can be called, and does not say with what, may be an app."""
    write("unsigned", "app = getattr")
    assert load_app("unsigned:app") is getattr

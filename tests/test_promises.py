"""What the README and the page of promises say is shown, and the README's first steps lead where they say."""

import asyncio
import re
import shlex
from pathlib import Path

import pytest
from asgi import get, live
from leaks import WATCH

from keyguard.cli._commands import app as command_line

ROOT = Path(__file__).parent.parent
PROMISES = ROOT / "docs" / "explanation" / "promises.md"
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]


def test_each_promise_has_its_end_and_its_tests():
    """Each section of the page says where its promise ends, and which tests show it; the last says what may change."""
    *sections, last = re.split(r"^## ", PROMISES.read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert len(sections) >= 10
    for section in sections:
        title = section.splitlines()[0]
        assert re.search(r"^\*\*.+\*\*", section, re.MULTILINE), title
        assert "\nWhere it ends:\n\n- " in section, title
        assert re.search(r"^Shown by: `tests/", section, re.MULTILINE), title
    assert last.startswith("What may change")


def test_every_test_that_is_named_is_there():
    """Each test that the manual or the README names exists, in the file that is named."""
    named = {name for page in PAGES for name in re.findall(r"`(tests/[\w/]+\.py::\w+)`", page.read_text("utf-8"))}
    assert len(named) > 30
    for name in sorted(named):
        file, _, function = name.partition("::")
        assert re.search(rf"^(async )?def {function}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE), name


def test_every_session_that_is_named_is_there():
    """Each session of nox that the manual or the README names exists."""
    named = {name for page in PAGES for name in re.findall(r"nox -s ([\w]+)", page.read_text("utf-8"))}
    sessions = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text("utf-8"), re.MULTILINE))
    assert {"tests", "compare", "bench"} <= named <= sessions


def test_the_readmes_promises_are_the_pages():
    """Each promise of the README's table is a section of the page, in the same order, and has its end."""
    text = (ROOT / "README.md").read_text("utf-8")
    titles = re.findall(r"^\| \*\*(.+?)\.?\*\*.* \| \S.* \|$", text, re.MULTILINE)
    page = re.findall(r"^## (.+)$", PROMISES.read_text("utf-8"), re.MULTILINE)
    assert len(titles) >= 5
    assert [title for title in page if any(title.startswith(each) for each in titles)] == [
        next(title for title in page if title.startswith(each)) for each in titles
    ]


def test_every_link_of_the_readme_leads_somewhere():
    """Links and pictures of the README are files of the repository, for it is read there."""
    text = (ROOT / "README.md").read_text("utf-8")
    targets = re.findall(r"\]\(([^)#]+)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    assert len(targets) > 10
    for target in targets:
        assert (ROOT / target).exists(), target


def test_the_readmes_first_steps_lead_to_a_guarded_app(tmp_path, monkeypatch, capsys):
    """Whoever types the README's commands has a key, and with it the README's app greets its owner."""
    text = (ROOT / "README.md").read_text("utf-8")
    setting, *commands = re.search(r"```sh\nexport (KEYGUARD_DATABASE_URL.*?)```", text, re.DOTALL)[1].splitlines()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(*setting.split("="))
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "keyguard"
        with pytest.raises(SystemExit) as ended:
            command_line(arguments)
        assert ended.value.code == 0
    key = capsys.readouterr().out.split()[-1]
    WATCH.key(key)
    namespace = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], namespace)
    app = namespace["app"]

    async def between():
        for given in ({"headers": [("x-api-key", key)]}, {"query": f"x-api-key={key}".encode()}):
            assert (await get(app, "/", **given)).body == b"Hello, ada"
        assert (await get(app, "/")).status == 401
        assert (await get(app, "/health")).status == 404

    sent = asyncio.run(live(app, between=between))
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

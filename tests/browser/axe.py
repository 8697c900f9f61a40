"""axe-core, which finds what keeps people out of a page: installed by npm into node_modules beside this file."""

from pathlib import Path

from browser.chromium import Missing

_FILE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"


_OF_COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules that look at colours, of those that are tried without being asked for."""


def source():
    """Return axe-core's script. Raises `Missing`."""
    if not _FILE.exists():
        raise Missing("axe-core is not there: run npm ci in tests/browser")
    return _FILE.read_text("utf-8")


async def violations(page, script, *, only_colours=False):
    """Return what is wrong with a page as it is shown now, a line for each rule and place."""
    options = {"resultTypes": ["violations"]} | ({"runOnly": _OF_COLOURS} if only_colours else {})
    # Evaluated by the debugger, so that the page's own policy, which lets no other script in, does not mind.
    await page.evaluate(f"window.axe || (() => {{ {script} }})()")
    found = await page.evaluate("(options) => axe.run(document, options).then((result) => result.violations)", options)
    return [
        f"{rule['id']} ({rule['impact']}): {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]

"""Photographs the Langflow-style server for the manual: `nox -s screenshots`.

The same people, flows and keys make much the same pictures each time; the server's clock is the real one. `--all` takes
every state, for somebody who wants to look at them, into the folder that is named.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

from browser.chromium import launched, somebody
from browser.langflow.pages import Pages
from browser.langflow.samples import fill
from browser.langflow.states import STATES, go
from browser.screenshots import PUT, put_sample_key, take_all
from langflow_serving import serving

FOLDER = Path(__file__).parents[3] / "docs" / "_static" / "langflow-server"

PICTURES = {
    "flow": "flow, answered",
    "settings": "settings",
    "made": "new key, made",
    "delete": "keys, deleting",
    "variable": "new variable",
    "users": "users",
}
"""What the manual shows, by the names of the files."""


async def take(folder, pictures):
    """Photograph states, each in every size and scheme, into `folder`."""
    with tempfile.TemporaryDirectory() as temporary, serving(Path(temporary)) as server:
        samples = fill(server)
        async with launched() as browser:
            cookies = {
                who: await _cookies(browser, server, samples, who) for who in {who for who, _ in STATES.values()}
            }
            for name, state in pictures.items():
                who, _ = STATES[state]
                async with somebody(browser, server.url, storage_state=cookies[who]) as context:
                    page = await context.new_page()
                    page.on("dialog", lambda dialog: dialog.accept())
                    await go(state, page, samples)
                    # As it is where the server runs by the first command that the manual has.
                    ids = [
                        [each, f"5f0c1a52-7d3e-4b8a-9c64-1e2d3f4a5b{at:02}"]
                        for at, each in enumerate(samples.flows.values())
                    ]
                    await page.evaluate(PUT, [[f"127.0.0.1:{server.port}", "127.0.0.1:7860"], *ids])
                    await put_sample_key(page, "lf")
                    await take_all(page, folder, name)


async def _cookies(browser, server, samples, who):
    """Sign somebody in once."""
    if who == "nobody":
        return None
    async with somebody(browser, server.url) as context:
        await Pages(await context.new_page()).enter(getattr(samples, who))
        return await context.storage_state()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER.parent, help="in which folder theirs is")
    parser.add_argument("--all", action="store_true", help="every state that there is")
    chosen = parser.parse_args()
    everything = {state.replace(",", "").replace(" ", "-"): state for state in STATES}
    asyncio.run(take(chosen.folder / FOLDER.name, everything if chosen.all else PICTURES))


if __name__ == "__main__":
    main()

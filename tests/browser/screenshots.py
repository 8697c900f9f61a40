"""Photographs the key page for the manual: `nox -s screenshots`.

The same people, keys and time make the same pictures each time, on machines with the same fonts. `--all` takes every
state, for somebody who wants to look at them, into the folder that is named.
"""

import argparse
import asyncio
import io
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from browser.chromium import PHONE, WIDE, launched
from browser.keypage import KeyPage
from browser.samples import PASSWORD, Counted, fill
from browser.states import STATES, go
from PIL import Image
from servers.harness import running

from keyguard.keys import ENTROPY_BYTES, from_entropy
from keyguard.stores.sql import SQLStore

FOLDER = Path(__file__).parents[2] / "docs" / "_static" / "key-page"

PICTURES = {
    "list": "list",
    "new": "new",
    "made": "made",
    "key": "key, in its grace",
    "rotate": "rotate",
    "delete": "delete",
    "everybody": "list, of everybody",
}
"""What the manual shows, by the names of the files."""

NOW = datetime(2026, 3, 2, 10, 24, tzinfo=UTC)
SIZES = {"1280": WIDE, "390": PHONE}
SCHEMES = ("light", "dark")

_PUT = """(changes) => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        for (const [old, sample] of changes) {
            walker.currentNode.data = walker.currentNode.data.replaceAll(old, sample);
        }
    }
}"""


async def take(folder, pictures):
    """Photograph states, each in every size and scheme, into `folder`."""
    with tempfile.TemporaryDirectory() as temporary:
        database = f"sqlite+aiosqlite:///{temporary}/keys.db"
        store = SQLStore(database)
        await store.create_schema()
        samples = await fill(store, NOW)
        await store.close()
        environment = {"DATABASE": database, "NOW": NOW.isoformat(), "URL": "https://api.example.com"}
        with running("httptools", "browser.app:app", temporary, environment=environment) as server:
            server.wait_until_it_answers()
            async with launched() as browser:
                for name, state in pictures.items():
                    async with await browser.new_context(base_url=f"http://127.0.0.1:{server.port}") as context:
                        await _take(await context.new_page(), samples, state, folder, name)


async def _take(page, samples, state, folder, name):
    page.on("dialog", lambda dialog: dialog.accept())
    keys = KeyPage(page)
    who, _ = STATES[state]
    if who != "nobody":
        await keys.sign_in(getattr(samples, who).name, PASSWORD)
        await page.wait_for_url("**/keys/")
    await go(state, keys, samples)
    await _put_sample_key(page)
    for size, viewport in SIZES.items():
        for scheme in SCHEMES:
            await page.set_viewport_size(viewport)
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            taken = await page.screenshot(full_page=True, animations="disabled")
            _save(taken, folder / f"{name}-{size}-{scheme}.png")


async def _put_sample_key(page):
    """Show one that is the same each time where a key was made: the page's own are random."""
    secret = page.locator("pre.secret").first
    if await secret.count():
        made = (await secret.text_content()).strip()
        sample = from_entropy("kg", Counted("screenshots")(ENTROPY_BYTES)).reveal()
        hint = made.rpartition("_")[0], sample.rpartition("_")[0]
        await page.evaluate(_PUT, [[made, sample], hint])


def _save(png, path):
    """Write a picture with 256 colours, which is what text and plain areas need."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="where the pictures go")
    parser.add_argument("--all", action="store_true", help="every state that there is")
    chosen = parser.parse_args()
    everything = {state.replace(",", "").replace(" ", "-"): state for state in STATES}
    asyncio.run(take(chosen.folder, everything if chosen.all else PICTURES))


if __name__ == "__main__":
    main()

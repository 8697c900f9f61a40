"""Photographs the key page for the manual: `nox -s screenshots`.

The same people, keys and time make the same pictures each time, on machines with the same fonts. `--all` takes every
state, for somebody who wants to look at them, into the folder that is named.
"""

import argparse
import asyncio
import io
import tempfile
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

from browser.chromium import PHONE, WIDE, launched, somebody
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
    "everybody": "list, of everybody",
    "new": "new",
    "made": "made",
    "key": "key, in its grace",
    "delete": "delete",
}
"""What the manual shows, by the names of the files; the lists come before what adds a key to them."""

NOW = datetime(2026, 3, 2, 10, 24, tzinfo=UTC)
SIZES = {"1280": WIDE | {"height": 480}, "390": PHONE | {"height": 480}}
"""Windows that are lower than most pages: each picture is as high as its page."""
MOST_HEIGHT = 1240
"""What is below that adds nothing but bytes to the manual."""
SCHEMES = ("light", "dark")

PUT = """(changes) => {
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
                url = f"http://127.0.0.1:{server.port}"
                cookies = {
                    who: await _cookies(browser, url, samples, who) for who in {who for who, _ in STATES.values()}
                }
                for name, state in pictures.items():
                    who, _ = STATES[state]
                    async with somebody(browser, url, storage_state=cookies[who]) as context:
                        page = await context.new_page()
                        page.on("dialog", lambda dialog: dialog.accept())
                        await go(state, KeyPage(page), samples)
                        await put_sample_key(page)
                        await take_all(page, folder, name)


async def _cookies(browser, url, samples, who):
    """Sign somebody in once, so that what they did is not mostly that."""
    if who == "nobody":
        return None
    async with somebody(browser, url) as context:
        page = await context.new_page()
        await KeyPage(page).sign_in(getattr(samples, who).name, PASSWORD)
        await page.wait_for_url("**/keys/")
        return await context.storage_state()


async def take_all(page, folder, name):
    """Photograph a page as it is now, in every size and scheme."""
    for (size, viewport), scheme in product(SIZES.items(), SCHEMES):
        await page.set_viewport_size(viewport)
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        taken = await page.screenshot(full_page=True, animations="disabled")
        _save(taken, folder / f"{name}-{size}-{scheme}.png")


async def put_sample_key(page, prefix="kg"):
    """Show one that is the same each time where a key was made: the page's own are random."""
    secret = page.locator("pre.secret").first
    if await secret.count():
        made = (await secret.text_content()).strip()
        sample = from_entropy(prefix, Counted("screenshots")(ENTROPY_BYTES)).reveal()
        ids = made.rpartition("_")[0], sample.rpartition("_")[0]
        hints = [f"{text[: len(prefix) + 5]}…" for text in ids]
        await page.evaluate(PUT, [[made, sample], ids, hints])


def _save(png, path):
    """Write a picture with 256 colours, which is what text and plain areas need."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    if path.parent.parent == FOLDER.parent:
        picture = picture.crop((0, 0, picture.width, min(picture.height, MOST_HEIGHT)))
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

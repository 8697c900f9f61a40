"""Goes through the key page as a person does: sees pages, fills in forms, presses buttons, reads what is said."""

from html_pages import read_page

from keyguard.model import Principal


async def see(browser, path="/", status=200):
    answer = await browser.get(path)
    assert answer.status_code == status, answer.text
    return read_page(answer)


def rows(page):
    return [[cell.text for cell in row.children if not isinstance(cell, str)] for row in page.one("tbody").all("tr")]


async def fill(browser, path, **fields):
    """Open a form, fill it in, and send it: what is not filled in is sent as it stands."""
    page = read_page(await browser.get(path))
    (form,) = [
        each
        for each in page.all("form")
        if each["action"].removeprefix("/keys").partition("?")[0] == path.partition("?")[0]
    ]
    data = {}
    for each in [*form.all("input"), *form.all("textarea")]:
        if each.get("type") not in {"radio", "checkbox"} or "checked" in each.attributes:
            data.setdefault(each["name"], []).append(each.get("value") or each.raw_text.strip())
    return await browser.post(path.partition("?")[0], data | fields)


async def press(browser, key, action, **fields):
    """Press one of the buttons of a key's page."""
    page = read_page(await browser.get(f"/key/{key.id}"))
    form = page.one("form", action=f"/keys/key/{key.id}/{action}")
    data = {each["name"]: each["value"] for each in form.all("input")}
    return await browser.post(f"/key/{key.id}/{action}", data | fields)


async def notice(browser, answer, path=None):
    """What the page says that an answer leads to; it says it once, and is what is read first."""
    assert answer.status_code == 303, answer.text
    if path is not None:
        assert answer.headers["location"] == f"/keys{path}"
    page = read_page(await browser.follow(answer))
    said = page.one("div", class_="notice")
    assert "autofocus" in said.attributes
    assert said["tabindex"] == "-1"
    assert said["role"] == ("alert" if "failed" in said["class"] else "status")
    assert not read_page(await browser.follow(answer)).all("div", class_="notice")
    return said.text.replace("\u2068", "").replace("\u2069", "")


def wrong(page):
    return {each["id"].removesuffix("-wrong"): each.text for each in page.all("p", class_="wrong")}


def text_of_key(page):
    return page.one("pre", id="key").text


def facts(page):
    return {
        each.one("dt").text: each.one("dd").text
        for each in page.one("main").all("div")
        if each.all("dt") and each.parent.tag == "dl"
    }


async def as_principal(owner, scopes=frozenset({"*"})):
    return Principal(id=owner.id, name=owner.name, scopes=scopes)

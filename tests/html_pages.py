"""Reads pages as a strict browser would: a tree of elements, and what is wrong with it for machines and for people."""

from html.parser import HTMLParser
from itertools import pairwise

VOID = {"br", "hr", "img", "input", "link", "meta", "circle", "path", "rect"}
BLOCKS = {"br", "dd", "div", "h1", "h2", "h3", "li", "option", "p", "small", "td", "th"}
FIELDS = {"input", "select", "textarea"}


class Element:
    def __init__(self, tag, attributes, parent=None):
        self.tag, self.attributes, self.parent = tag, dict(attributes), parent
        self.children = []

    def __getitem__(self, name):
        return self.attributes[name]

    def get(self, name, default=None):
        return self.attributes.get(name, default)

    @property
    def text(self):
        """All text within, each run of white space as one blank."""
        return " ".join("".join(self._texts()).split())

    @property
    def raw_text(self):
        return "".join(self._texts())

    def _texts(self):
        blank = [" "] if self.tag in BLOCKS else []
        yield from blank
        for child in self.children:
            yield from [child] if isinstance(child, str) else child._texts()
        yield from blank

    def __iter__(self):
        """All elements within, in their order."""
        for child in self.children:
            if isinstance(child, Element):
                yield child
                yield from child

    def all(self, tag=None, **attributes):
        """All elements within of that kind; ``class_`` is one class among others."""
        css = attributes.pop("class_", None)
        return [
            each
            for each in self
            if (tag is None or each.tag == tag)
            and (css is None or css in (each.get("class") or "").split())
            and all(each.get(name.replace("_", "-")) == value for name, value in attributes.items())
        ]

    def one(self, tag=None, **attributes):
        found = self.all(tag, **attributes)
        assert len(found) == 1, f"{len(found)} times {tag} {attributes}"
        return found[0]

    def within(self, tag):
        """The nearest element of that kind around this one."""
        around = self.parent
        while around is not None and around.tag != tag:
            around = around.parent
        return around


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.root = self.at = Element("#document", [])
        self.faults = []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(set(names)) < len(names):
            self.faults.append(f"<{tag}> has an attribute twice: {names}")
        element = Element(tag, attrs, self.at)
        self.at.children.append(element)
        if tag not in VOID:
            self.at = element

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.at = self.at.parent

    def handle_endtag(self, tag):
        if tag != self.at.tag:
            self.faults.append(f"</{tag}> ends <{self.at.tag}>")
        else:
            self.at = self.at.parent

    def handle_data(self, data):
        self.at.children.append(data)


def read_page(answer):
    """Return a page as a tree, if it is a sound one."""
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    reader = _Reader()
    reader.feed(answer.text)
    reader.close()
    page = reader.root
    faults = [*reader.faults, *_structure(page), *_fields(page), *_safety(page)]
    assert reader.at is page, f"<{reader.at.tag}> has no end"
    assert not faults, "\n".join(faults)
    return page


def _structure(page):
    ids = [each["id"] for each in page if "id" in each.attributes]
    yield from (f"the id {name!r} stands twice" for name in {name for name in ids if ids.count(name) > 1})
    for each in page:
        for attribute in ("for", "aria-describedby", "aria-labelledby", "list"):
            for name in (each.get(attribute) or "").split():
                if name not in ids:
                    yield f"{attribute}={name!r} leads nowhere"
        if each.tag == "a" and (each.get("href") or "").startswith("#") and each["href"][1:] not in ids:
            yield f"a link to {each['href']} leads nowhere"
    levels = [int(each.tag[1]) for each in page if each.tag in {"h1", "h2", "h3", "h4"}]
    if levels.count(1) != 1 or levels[0] != 1:
        yield f"there is one h1, and it comes first: {levels}"
    yield from (f"h{after} follows h{before}" for before, after in pairwise(levels) if after > before + 1)
    if page.one("html").get("lang") != "en" or not page.one("title").text:
        yield "a page has a language and a title"
    if len(page.all("main")) != 1 or not page.all("a", class_="skip"):
        yield "a page has its main part, and a link that skips to it"
    yield from (
        f"a table's head has no scope: {each.text}" for each in page.all("th") if "scope" not in each.attributes
    )


def _fields(page):
    labels = {each.get("for") for each in page.all("label")}
    for each in page:
        if each.tag in FIELDS and each.get("type") != "hidden":
            around = each.within("label")
            if each.get("id") not in labels and (around is None or not around.text):
                yield f"a field has no label: {each.attributes}"
        if each.tag in {"a", "button"} and not each.text:
            yield f"a link or button has no name: {each.attributes}"
        if each.tag == "form" and each.get("method") == "post" and not each.all("input", name="csrf"):
            yield f"a form has no token: {each.attributes}"
        if each.tag == "fieldset" and not each.all("legend"):
            yield "a group of fields has no legend"


def _safety(page):
    for each in page:
        if each.tag in {"style", "iframe", "object", "base"} or (each.tag == "script" and each.raw_text):
            yield f"there is <{each.tag}> in the page"
        yield from (f"<{each.tag}> has {name}" for name in each.attributes if name == "style" or name.startswith("on"))
        for name in ("href", "src", "action"):
            if (target := each.get(name)) is not None and not (target.startswith(("/", "#")) and target[:2] != "//"):
                yield f"<{each.tag}> leads to another host: {target}"

"""Which paths a route answers, as far as its template says, and examples of them.

A template is read from what Starlette has made of it: texts, and between them parameters, each with the pattern that
its convertor has. Of the paths that it answers, examples are made up: any, the one that is asked for, or such as lie
below another path. An example is then put to the guard's rules and to the router itself; nothing is concluded from the
template alone.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Template", "fillers"]

_PARAMETER = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)\}")

_Part = str | re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Template:
    """The paths, or the hosts, that a route answers: `text` is what the app wrote."""

    text: str = ""
    parts: tuple[_Part, ...] = ()

    @classmethod
    def read(cls, text: str, form: str, convertors: Mapping[str, Any]) -> "Template":
        """Return the template of a Starlette route: its path, its `path_format` and its convertors."""
        # Texts and names of parameters take turns.
        pieces = _PARAMETER.split(form)
        parts = [re.compile(convertors[piece].regex) if index % 2 else piece for index, piece in enumerate(pieces)]
        return cls(text, tuple(part for part in parts if part))

    @classmethod
    def text_of(cls, text: str) -> "Template":
        """Return the template of one path."""
        return cls(text, (text,) if text else ())

    def __add__(self, other: "Template") -> "Template":
        return Template(self.text + other.text, self.parts + other.parts)

    @property
    def beginning(self) -> str:
        """What every path begins with: all that stands before the first parameter."""
        texts: list[str] = []
        for part in self.parts:
            if not isinstance(part, str):
                break
            texts.append(part)
        return "".join(texts)

    @property
    def texts(self) -> list[str]:
        """What is written out."""
        return [part for part in self.parts if isinstance(part, str)]

    @property
    def depth(self) -> int:
        """How many segments are written out, or at least have a place."""
        return self.text.count("/")

    @property
    def is_fixed(self) -> bool:
        """Tell whether there is one path only."""
        return all(isinstance(part, str) for part in self.parts)

    def is_at(self, entry: str, *, and_below: bool) -> bool:
        """Tell whether every path is `entry` itself or, with `and_below`, below it."""
        return (self.is_fixed and self.beginning == entry) or (and_below and self.beginning.startswith(f"{entry}/"))

    def names(self, entry: str, *, catches_all: bool) -> bool:
        """Tell whether a template that answers for `entry` means it, and not whatever comes.

        It does if it spells out some of what `entry` says. A parameter that holds slashes, and begins before the end of
        `entry`, is right only if it may be one that `catches_all` the rest.
        """
        left, spelled = entry.count("/"), False
        for part in self.parts:
            if not isinstance(part, str):
                if _is_deep(part):
                    return catches_all and spelled
                continue
            for piece in re.findall(r"/|[^/]+", part):
                left -= piece == "/"
                if left < 0:
                    return spelled
                spelled = spelled or piece != "/"
        return spelled

    def examples(self, fill: Sequence[str]) -> Iterator[str]:
        """Make up paths, with `fill` in the place of parameters; the first is the plainest."""
        return _filled(self.parts, fill)

    def examples_at(self, path: str, fill: Sequence[str], *, and_below: bool) -> Iterator[str]:
        """Make up paths that are `path` itself or, with `and_below`, below it."""
        yield from _completed(self.parts, path, fill, goes_on=False)
        if and_below:
            yield from _completed(self.parts, f"{path}/", fill, goes_on=True)


def fillers(paths: Iterable[str], *, depth: int) -> tuple[str, ...]:
    """Return what to put in the place of parameters: texts and numbers that stand in none of `paths`.

    Among them is one of `depth` segments, for parameters that can hold so many.
    """
    texts = "\n".join(paths)
    word = next(word for word in _words("x") if word not in texts)
    number = next(word for word in _words("1") if word not in texts)
    return (word, number, "00000000-0000-4000-8000-000000000000", f"{word}/{word}", "/".join([word] * depth))


def _words(letter: str) -> Iterator[str]:
    word = letter
    while True:
        yield word
        word += letter


def _is_deep(pattern: re.Pattern[str]) -> bool:
    """Tell whether a parameter can hold more than one segment."""
    return any(pattern.fullmatch(text) for text in ("x/x", "1/1", "/", "x/"))


def _filled(parts: Sequence[_Part], fill: Sequence[str]) -> Iterator[str]:
    if not parts:
        yield ""
        return
    head, *tail = parts
    if isinstance(head, str):
        values = [head]
    else:
        values = [text for text in fill if head.fullmatch(text)]
        values = values if _is_deep(head) else values[:1]
    for value in values:
        for rest in _filled(tail, fill):
            yield value + rest


def _completed(parts: Sequence[_Part], path: str, fill: Sequence[str], *, goes_on: bool) -> Iterator[str]:
    """Make up paths that are `path`, or that begin with it if it `goes_on`; it then ends in a slash."""
    if goes_on and not path:
        yield from _filled(parts, fill)
    elif parts:
        head, *tail = parts
        for text, rest in _shares(head, path, fill, goes_on=goes_on):
            following = _filled(tail, fill) if rest is None else _completed(tail, rest, fill, goes_on=goes_on)
            for more in following:
                yield text + more
    elif not path:
        yield ""


def _shares(head: _Part, path: str, fill: Sequence[str], *, goes_on: bool) -> Iterator[tuple[str, str | None]]:
    """Give what the first part can be, and what is left of `path` for the others: None where it is used up within."""
    if isinstance(head, str):
        if path.startswith(head):
            yield head, path.removeprefix(head)
        elif goes_on and head.startswith(path):
            yield head, None
        return
    for end in range(len(path) + 1):
        if head.fullmatch(path[:end]):
            yield path[:end], path[end:]
    if goes_on:
        for text in fill:
            if head.fullmatch(path + text):
                yield path + text, None

"""Changed paths: what somebody sends who wants a careless rule to take a guarded path for an open one.

`mutants` makes the targets, `scopes_of` what each server makes of a target.
"""

import random
from functools import cache
from urllib.parse import unquote

import httptools

SEED = 20_260
BASES = (b"/health", b"/login", b"/docs/", b"/tree/o", b"/static/a.js")
SUFFIXES = (b"", b".", b"/", b"/..", b";", b"/..;/x")
SPELLINGS = tuple(spelling for byte in range(256) for spelling in (bytes([byte]), b"%%%02x" % byte))
COMPOUND = 20_000


def changes(base):
    """Each byte, raw and encoded, inserted before and put in place of each byte of `base`, and added to its end."""
    for position in range(len(base) + 1):
        before, at, behind = base[:position], base[position : position + 1], base[position + 1 :]
        for spelling in SPELLINGS:
            yield before + spelling + at + behind
            if at:
                yield before + spelling + behind


@cache
def mutants():
    """Return all changed targets, in an order that is the same each time.

    Every single change of every base path, each with every suffix; and a seeded choice of several changes at once.
    """
    targets = {base + suffix: None for base in BASES for suffix in SUFFIXES}
    targets |= {changed + suffix: None for base in BASES for changed in changes(base) for suffix in SUFFIXES}
    chance = random.Random(SEED)
    pieces = (*SPELLINGS, b"../", b"./", b"%2e%2e/", b"..%2f", b"%252e", b"..;/", b"/anything", b"/anything/..", *BASES)
    for _ in range(COMPOUND):
        target = chance.choice(BASES)
        for _ in range(chance.randrange(2, 5)):
            position = chance.randrange(len(target) + 1)
            target = target[:position] + chance.choice(pieces) + target[position + chance.randrange(2) :]
        targets[target] = None
    return tuple(targets)


def _httptools(target):
    try:
        url = httptools.parse_url(target)
        return unquote(url.path.decode("ascii")), url.path
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError, AttributeError):
        return None  # It answers 400.


def _h11(target):
    raw_path = target.partition(b"?")[0]
    return (unquote(raw_path.decode()), raw_path) if raw_path.isascii() else None


def _granian(target):
    raw_path = target.partition(b"#")[0].partition(b"?")[0]
    return unquote(raw_path, errors="replace"), raw_path


MAPPINGS = {"httptools": _httptools, "h11": _h11, "hypercorn": _h11, "granian": _granian}
"""How a server makes `path` and `raw_path` of a target, None where it answers by itself.

They may take what the server refuses: then one more path is tried than could ever come. The tests hold them against
the servers.
"""


@cache
def scopes():
    """Return every pair of `path` and `raw_path` that any server makes of any mutant."""
    found = {}
    for target in mutants():
        for mapping in (_httptools, _h11, _granian):
            pair = mapping(target)
            if pair is not None:
                found[pair] = None
    return tuple(found)

"""How the manual is built: `nox -s docs`."""

import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.inspect import signature, stringify_signature

import keyguard

sys.path.insert(0, str(Path(__file__).parents[1]))  # The benchmarks, of which the tables need some.
sys.path.insert(0, str(Path(__file__).parent))
import tables

project = "Keyguard"
author = "The Keyguard developers"
copyright = author  # noqa: A001 Sphinx's own name for it.
version = release = keyguard.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
default_role = "py:obj"  # `name` in a docstring links to what the reference has under that name.
add_module_names = False
maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"Keyguard {release}"
html_static_path = ["_static"]
html_css_files = ["keyguard.css"]
html_copy_source = False
html_show_sphinx = False


class CodeTable(SphinxDirective):
    """``{code-table} name``: a table that `tables` makes from the code."""

    required_arguments = 1

    def run(self) -> list[nodes.Element]:
        """Return the table."""
        made = self.parse_text_to_nodes(tables.TABLES[self.arguments[0]]())
        for table in made:
            table["classes"].append("from-code")
        return made


def own_signature(  # noqa: PLR0917 Sphinx's signature, like the rest.
    app: Sphinx,  # noqa: ARG001
    what: str,  # noqa: ARG001
    name: str,  # noqa: ARG001
    obj: Any,  # noqa: ANN401
    options: dict[str, bool],  # noqa: ARG001
    shown: str,
    returned: str,
) -> tuple[str, str]:
    """Show how a class is called where Sphinx would not show it as it is written.

    Defaults and types of `KeyGuard` are shown by their names. An `Access` is made by the guard alone.
    """
    if obj is keyguard.KeyGuard:
        taken = signature(keyguard.KeyGuard)
        defaults = {"policy": AsWritten("Policy()"), "clock": AsWritten("utc_now")}
        types = {"app": AsWritten("ASGIApp"), "on_refused": AsWritten("OnRefused | None")}
        parameters = [
            each.replace(default=defaults.get(name, each.default), annotation=types.get(name, each.annotation))
            for name, each in taken.parameters.items()
        ]
        return stringify_signature(
            taken.replace(parameters=parameters, return_annotation=taken.empty), unqualified_typehints=True
        ), ""
    if obj is keyguard.Access:
        return "", ""
    return shown, returned


class AsWritten:
    """Shows itself as it is written in the code: a default, or a type that has a name."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def link_included_pages(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:  # noqa: ARG001 Sphinx's signature.
    """Let the repository's own pages, where the manual includes them, link to their copies here."""
    for name in ("CHANGELOG.md", "SECURITY.md"):
        content[0] = content[0].replace(f"]({name})", f"]({name.lower()})")


def setup(app: Sphinx) -> None:
    """Add what is Keyguard's own."""
    app.add_directive("code-table", CodeTable)
    app.connect("autodoc-process-signature", own_signature)
    app.connect("include-read", link_included_pages)

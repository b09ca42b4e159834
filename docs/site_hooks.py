"""Hooks of mkdocs.yml: pages that stand outside of docs/, links to files that are no pages, the public names, examples.

The pages are written for a reader of the repository. The site has the same pages; only their links differ.
"""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "start.md": "README.md",
    "speed.md": "benchmarks/README.md",
    "growth.png": "benchmarks/growth.png",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "releasing.md": "RELEASING.md",
    "security.md": "SECURITY.md",
}
"""Where the site shows files from outside of docs/."""
_CODE = re.compile(r"(^```.*?^```$)", re.S | re.M)
_LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")
_EXAMPLE = re.compile(r"^Example:$", re.M)
_NAMES = re.compile(r"<!-- names of (\S+) -->")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files from outside of docs/."""
    for address, path in OUTSIDE.items():
        files.append(File.generated(config, address, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page's text with the links of the site, and with the public names where it asks for them."""
    addresses = {Path(file.abs_src_path).resolve(): file.src_uri for file in files if file.abs_src_path}
    folder = Path(page.file.abs_src_path or "").resolve().parent

    def site_link(link: re.Match[str]) -> str:
        target = (folder / link["path"]).resolve()
        if address := addresses.get(target):
            relative = posixpath.relpath(address, posixpath.dirname(page.file.src_uri) or ".")
            return f"{link['text']}({relative}{link['anchor'] or ''})"
        if not target.exists():
            return link[0]  # MkDocs warns of it
        if config.repo_url:
            return f"{link['text']}({config.repo_url.rstrip('/')}/blob/main/{target.relative_to(ROOT)})"
        return link["text"][1:-1]  # a source file, which the site does not have

    parts = _CODE.split(markdown.replace('="docs/pictures/', '="pictures/'))
    text = "".join(part if part.startswith("```") else _LINK.sub(site_link, part) for part in parts)
    return _NAMES.sub(lambda marker: _entries(ROOT / marker[1]), text)


class ExamplesAsCode(griffe.Extension):
    """Shows the section ``Example:`` of a docstring as code.

    The parser of docstrings knows the section as ``Examples:`` only; under another name its prompts ``>>>`` become
    quotations, and its lists links.
    """

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Renames the section of one function, class or module.

        Args:
            obj: a new object of the reference.
        """
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub("Examples:", obj.docstring.value)


def _entries(path: Path) -> str:
    """An entry of mkdocstrings for each name that a file of imports makes public, by the module the name stands in."""
    names: dict[str, list[str]] = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            names.setdefault(node.module, []).extend(alias.name for alias in node.names)
    return "\n".join(
        f"### `{module}`\n\n" + "".join(f"::: {module}.{name}\n\n" for name in listed)
        for module, listed in names.items()
    )

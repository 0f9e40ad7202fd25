"""Fills in the templates of pages. Every value is escaped: as HTML in ``*.html.j2``, as Markdown in ``*.md.j2``."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup


def render(name: str, /, **values: Any) -> str:
    """Fill in a template.

    Args:
        name: Its path inside this package; its end, ``.html.j2`` or ``.md.j2``, decides how values are escaped.
        values: What the template names. A name that is not among them is an error.

    Returns:
        The page. In Markdown, empty lines in a row are one.
    """
    text = environment(name.endswith(".html.j2")).get_template(name).render(values)
    return text if name.endswith(".html.j2") else re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"


def markdown_text(text: object) -> Markup:
    """A text for Markdown, in one line, in which nothing has a meaning of its own."""
    if isinstance(text, Markup):
        return text
    plain = html.escape(" ".join(str(text).split()), quote=False)
    plain = re.sub(r"([\\`*_\[\]]|^[#+-](?=\s)|(?<=^\d)\.(?=\s))", r"\\\1", plain)
    return Markup(re.sub(r"[|~$]", lambda found: f"&#{ord(found[0])};", plain))  # a slash does not help everywhere


def markdown_code(text: str) -> Markup:
    """A text as Markdown's code, also for a cell of a table."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence, pad = "`" * (longest + 1), " " if longest else ""
    return Markup(f"{fence}{pad}{' '.join(text.split())}{pad}{fence}".replace("|", r"\|"))


def markdown_console(commands: list[str]) -> Markup:
    """Commands as Markdown's block of code, whatever is in them."""
    text = "\n".join(f"$ {command}" for command in commands)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return Markup(f"{fence}console\n{text}\n{fence}")


@functools.lru_cache
def environment(as_html: bool) -> Environment:
    """What templates are read in: every value is escaped, as HTML or as Markdown, and must be there."""
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,  # for Markdown, too: what `finalize` has escaped is marked as done
        finalize=None if as_html else markdown_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"code": markdown_code, "console": markdown_console, "percent": percent, "number": number}
    environment.globals |= {"with_interval": with_interval, "percent": percent, "number": number}
    environment.tests["numeric"] = lambda text: re.match(r"-?\d", text) is not None
    return environment


def _source(name: str) -> str | None:
    file = resources.files("vlm_rewards").joinpath(name)
    return file.read_text(encoding="utf-8") if file.is_file() else None


def percent(value: float, digits: int = 1) -> str:
    """A share as a percentage, without its sign."""
    return f"{100 * value:.{digits}f}"


def number(value: float, digits: int = 1) -> str:
    """A number with so many decimals."""
    return f"{value:.{digits}f}"


def with_interval(score: Mapping[str, Any], name: str, form: Callable[[float], str], unit: str = "") -> str:
    """A mean (``name`` is ``"mean"``) or interquartile mean (``"iqm"``) as ``66.7 % (33.3 to 100.0 %)``."""
    if score.get(name) is None:
        return "-"
    interval = score[f"{name}_interval_95"]
    ends = "(one seed)" if interval is None else f"({form(interval[0])} to {form(interval[1])}{unit})"
    return f"{form(score[name])}{unit} {ends}"

"""The JavaScript of the live view, once per kernel: a holder model carries it, each part carries the small loader.

A widget's code goes into its state, and its state into the saved notebook: ten views with a bundle each would
be megabytes. ``js/`` has the sources, ``js/build.mjs`` makes ``js/bundle/frontend.js.gz`` from them.
"""

from __future__ import annotations

import hashlib
from importlib import resources

import ipywidgets
import traitlets

_FILES = resources.files("mipro_nb.notebook")
LOADER = (_FILES / "js" / "loader.js").read_text(encoding="utf-8")


class Holder(ipywidgets.Widget):
    """A model without a view: the bundle as gzip bytes, the charts' Vega specs as JSON text, and the bundle's hash."""

    heard_of = False  # whether a front end of this kernel has ever shown a widget of ours
    code = traitlets.Bytes(help="gzip bytes of the bundle").tag(sync=True)
    specs = traitlets.Unicode(help="JSON text: the Vega specs by name").tag(sync=True)
    digest = traitlets.Unicode(help="changes when the bundle does: the key of the page's cache").tag(sync=True)


_holder: Holder | None = None


def holder(specs: str) -> Holder:
    """Return this kernel's holder; a new one when there is none, or when it was closed.

    Args:
        specs: JSON text, the Vega specs of ``charts.vega_specs``.
    """
    global _holder
    if _holder is None or _holder.comm is None:
        code = bundle()
        _holder = Holder(code=code, specs=specs, digest=hashlib.sha256(code).hexdigest()[:16])
    elif _holder.specs != specs:
        _holder.specs = specs
    return _holder


def bundle() -> bytes:
    """Return the gzip bytes of the one JavaScript bundle: our view and the part of Vega that it needs."""
    return (_FILES / "js" / "bundle" / "frontend.js.gz").read_bytes()

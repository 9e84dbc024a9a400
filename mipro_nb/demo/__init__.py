"""The demo's data set: 264 customer messages, written for this project, each naming one product.

Columns: ``message``; ``product``, the one of 24 devices that it names; ``team``, the one of four
(billing, bug, account, shipping) that can solve it.
"""

from __future__ import annotations

from pathlib import Path

from mipro_nb.data import examples
from mipro_nb.example import Example

PATH = Path(__file__).parent / "messages.csv"


def messages(label: str = "product") -> list[Example]:
    """Return the messages as Examples with one label; the input is ``message``.

    Args:
        label: ``"product"`` or ``"team"``.

    >>> from mipro_nb.demo import messages
    >>> len(messages()), sorted(messages("team")[0])
    (264, ['message', 'team'])
    """
    rows = examples(PATH, inputs=["message"])
    return [row.without("team" if label == "product" else "product") for row in rows]

"""The application as each worker of `alacarte serve` runs it: in a process of its own, set for many short requests."""

from __future__ import annotations

import gc
import sys

from litestar import Litestar

from api.app import create_app

_OBJECTS_BEFORE_COLLECTION = 10_000
_SWITCH_SECONDS = 0.001


def create_served_app() -> Litestar:
    """Return the application.

    What stands now stays for good, so the garbage collector need not look at it again; and a request leaves hundreds of
    objects but hardly a cycle, so it need not look after each. The threads that write groups go on a millisecond after
    the database has answered, not five, however busy the event loop is.
    """
    app = create_app()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTION)
    sys.setswitchinterval(_SWITCH_SECONDS)
    return app

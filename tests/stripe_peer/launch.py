"""Starts localstripe, an independent stand-in for Stripe, on loopback alone: `python launch.py PORT`.

It is GPL-licensed, so this script is the only place that imports it, in a process of its own; everybody else talks
HTTP to it. Its own command would listen on every interface and reload what an earlier run left behind.
"""

from __future__ import annotations

import sys

from aiohttp import web
from localstripe.server import app

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)

"""What holds for all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

# a busy machine is no counterexample
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# A script that runs the tests in the background hands them an ignored SIGINT, and they would hand it to their
# children: then Ctrl-C, which some of them send, ends nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

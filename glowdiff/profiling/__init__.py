"""Where the time of a compiled program goes: a trace of some of its runs, and the heaviest operations in it."""

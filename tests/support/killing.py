"""A training that is killed at a certain line of its log, however fast the machine is."""

KILLED = """
import os, signal
from training import log
write = log.Log.write
def counted(self, line, lines=iter(range(1, 10**9))):
    write(self, line)
    if next(lines) == {lines}:
        os.kill(os.getpid(), signal.SIGKILL)
log.Log.write = counted
"""

"""Which start is best for an architecture and some data: train from each of them, alike, and see."""

from paramgen.comparison.comparing import Event as Event
from paramgen.comparison.comparing import compare as compare
from paramgen.comparison.protocol import Protocol as Protocol
from paramgen.comparison.results import Results as Results
from paramgen.images.sets import Pixels as Pixels

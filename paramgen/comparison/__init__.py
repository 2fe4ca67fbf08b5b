"""Which initialization is best for an architecture and some data: train from each of them alike, and see."""

from paramgen.comparison.comparing import compare as compare
from paramgen.comparison.outcome import Comparison as Comparison
from paramgen.comparison.protocol import Protocol as Protocol
from paramgen.comparison.runner import Event as Event
from paramgen.images.sets import Pixels as Pixels

"""The types of what the public functions return, to annotate with. Importing this module loads torch.

>>> from paramgen.api.types import Prediction, Written
"""

from paramgen.comparison import Comparison as Comparison
from paramgen.comparison.data.tokenizer_folder import TokenizerFolder as TokenizerFolder
from paramgen.diagnosis.outcome import Diagnosis as Diagnosis
from paramgen.fields.files import FittedField as FittedField
from paramgen.fields.files import RenderedField as RenderedField
from paramgen.graphs.schema import Graph as Graph
from paramgen.hub.pushed import Pushed as Pushed
from paramgen.initializers import Choice as Choice
from paramgen.initializers.inheritance.nearest import Donors as Donors
from paramgen.output.fill import Filled as Filled
from paramgen.output.graph import Traced as Traced
from paramgen.output.info import Info as Info
from paramgen.output.planning import Planned as Planned
from paramgen.output.unpacking import Unpacked as Unpacked
from paramgen.output.verify import Checked as Checked
from paramgen.output.write import Written as Written
from paramgen.prediction import Prediction as Prediction
from paramgen.preparation.preparing import PreparedFolder as PreparedFolder
from paramgen.published.convert import Converted as Converted
from paramgen.serving.recipe_writing import WrittenRecipe as WrittenRecipe
from paramgen.serving.restore_planning import Restorable as Restorable

__all__ = [
    "Checked",
    "Choice",
    "Comparison",
    "Converted",
    "Diagnosis",
    "Donors",
    "FittedField",
    "Filled",
    "Graph",
    "Info",
    "Planned",
    "Prediction",
    "PreparedFolder",
    "Pushed",
    "RenderedField",
    "Restorable",
    "TokenizerFolder",
    "Traced",
    "Unpacked",
    "Written",
    "WrittenRecipe",
]

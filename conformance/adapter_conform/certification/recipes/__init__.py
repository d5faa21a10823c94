"""What certification trains and scores, apart from any framework: the recorder on a reference machine and the run on
the device under test read the same recipes. NumPy and the standard library only."""

from adapter_conform.certification.recipes.models import MODELS, StandardModel
from adapter_conform.certification.recipes.recipe import Evaluation, Recipe, Schedule
from adapter_conform.certification.recipes.table import RECIPES, recipes_of

__all__ = ["MODELS", "RECIPES", "Evaluation", "Recipe", "Schedule", "StandardModel", "recipes_of"]

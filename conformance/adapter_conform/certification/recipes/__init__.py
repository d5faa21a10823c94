"""What certification trains and scores, apart from any framework: the recorder on a reference machine and the run on
the device under test read the same recipes. NumPy and the standard library only."""

from adapter_conform.certification.recipes.models import MODELS, StandardModel
from adapter_conform.certification.recipes.recipe import Evaluation, Recipe, Schedule
from adapter_conform.certification.recipes.starting import initial_weights, lora_modules, lora_weights, prefix_weights
from adapter_conform.certification.recipes.table import LEVELS, RECIPES, SCALES, TASKS, all_recipes, recipes_of

__all__ = [
    "LEVELS",
    "MODELS",
    "RECIPES",
    "SCALES",
    "TASKS",
    "Evaluation",
    "Recipe",
    "Schedule",
    "StandardModel",
    "all_recipes",
    "initial_weights",
    "lora_modules",
    "lora_weights",
    "prefix_weights",
    "recipes_of",
]

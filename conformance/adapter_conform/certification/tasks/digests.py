"""What the device was trained and asked with, as digests that the reference has too."""

from __future__ import annotations

from adapter_conform.certification.digests import arrays_digest
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.corpora import corpus_of, preferences_of
from adapter_conform.certification.recipes.pictures import picture_digests

__all__ = ["data_digests"]


def data_digests(recipe: Recipe) -> dict[str, str]:
    """Of ``training``, ``validation`` and ``questions``, as far as the recipe has them."""
    if recipe.standard_model.architecture == "stable_diffusion":
        return picture_digests(recipe)
    if recipe.task == "dpo":
        pairs = dict(zip(("training", "questions"), preferences_of(recipe), strict=True))
        return {name: arrays_digest(one.prompts, one.chosen, one.rejected) for name, one in pairs.items()}
    corpus = corpus_of(recipe)
    digests = {"training": arrays_digest(*corpus.training(recipe))}
    if recipe.evaluation.validation_batches:
        digests["validation"] = arrays_digest(*corpus.validation(recipe))
    if recipe.evaluation.items:
        questions = corpus.questions(recipe)
        digests["questions"] = arrays_digest(questions.prompts, questions.answers)
    return digests

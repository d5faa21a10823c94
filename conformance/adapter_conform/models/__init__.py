"""Models for whole-model suites: their sizes, weights and data, and the libraries that build them."""

from adapter_conform.models.data import markov_batches
from adapter_conform.models.shape import LlamaShape
from adapter_conform.models.weights import Weights, llama_weights, read_weights, write_weights

__all__ = ["LlamaShape", "Weights", "llama_weights", "markov_batches", "read_weights", "write_weights"]

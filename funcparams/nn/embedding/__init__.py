"""Tables of rows that are looked up by index."""

from funcparams.nn.embedding.bag import EmbeddingBag
from funcparams.nn.embedding.table import Embedding

__all__ = ["Embedding", "EmbeddingBag"]

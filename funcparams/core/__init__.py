"""The core: what a definition is, and how it meets its arrays. It imports no other part."""

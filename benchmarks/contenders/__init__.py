"""One file a library; each defines IMPORT, VARIANTS, SCAN and build(cfg, variant)."""

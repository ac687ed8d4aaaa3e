"""Training in fixed point whose word lengths move (AdaPT)."""

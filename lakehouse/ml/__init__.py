"""features, training, evaluation, promotion, scoring, monitoring: a model on the lake."""

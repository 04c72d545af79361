//! Operators, layers, models, losses, optimiser, trainer.

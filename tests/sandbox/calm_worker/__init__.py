"""A worker without a model, whose answers are what its base's configuration says: quick to start, and quick to change."""

"""From a model that goes wrong on a device down to the first operator that does, on the reference's own inputs."""

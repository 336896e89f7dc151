"""Deploys stacks into an app: each resource of a template becomes the real thing, by requests to the engine."""

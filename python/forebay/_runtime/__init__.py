"""Runs handlers: starts them, stops them, reports how they ended. Decides nothing about retries, order or time."""

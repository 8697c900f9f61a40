"""Flows: graphs of components, how they are kept, and how they run."""

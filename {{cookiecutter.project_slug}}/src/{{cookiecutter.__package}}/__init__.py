"""This project's own Python code: its settings, its models, codecs of its own."""

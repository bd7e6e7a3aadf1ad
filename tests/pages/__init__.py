"""The pages that are made from the code: `python -m tests.pages` writes them anew, a test compares.

A page is made whole, or between two marks in a text that people write. Everything here only reads the product's tables.
"""

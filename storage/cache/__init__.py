"""The write-back cache: a journal in front of a space."""

"""Decoding of compressed audio in confined child processes that the workers share.

A worker sends bytes and gets samples, both through shared memory (`pool`); a decoder takes one small piece of one clip
at a time (`child`), after it gave up every right it does not need (`confinement`).
"""

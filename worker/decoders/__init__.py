"""Decodes compressed audio in confined child processes that the workers share.

A worker sends bytes and gets samples, both through shared memory (`pool`). A decoder does one small piece of one clip
at a time (`child`). Before that it has given up every right that it does not need (`confinement`).
"""

"""What the admin API answers, one structure an answer: the only description of its JSON.

The daemon builds and encodes these, the description of the API is made from them, and the commands read them. Pure
data. Invariant: a field that the first release did not have has a default or may be UNSET. So a command can read the
answers of an older daemon. UNSET means that the JSON has no such field.
"""

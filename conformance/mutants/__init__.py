"""Faulty devices, each a good one with one seeded fault: the proof that the suite notices.

``catalogue.MUTANTS`` are all of them, a row each; ``hunt`` runs the suite on one until two independent cases
have failed; ``matrix`` does so for many, in processes of their own. ``portwright mutate`` is the same from a
shell.
"""

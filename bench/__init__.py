"""Portwright beside its peers and this machine's limits: ``python -m bench --help``.

``workloads`` says what is computed and what is right; ``peers`` who computes it; ``harness`` takes the times;
``limits`` measures what the machine could do; ``report`` prints and writes tables. Times are taken in short
bursts, one process a peer, in turns, so that a drift of the machine meets everybody.
"""

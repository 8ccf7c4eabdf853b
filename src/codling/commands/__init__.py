"""The commands, one module for each group. Each opens its inputs, calls one function and shows it.

What computes is imported inside the commands, so that `codling --help` answers at once.
"""

"""{{ cookiecutter.__NAME }}: a Portwright port of {{ cookiecutter.vendor }}'s chip. The port is in ``port.py``."""

"""How an installed stack is: a pure function of what was last observed."""

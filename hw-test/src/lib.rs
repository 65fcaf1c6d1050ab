//! Rigs: the real programs, run and judged from outside.

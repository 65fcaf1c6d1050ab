//! The box: captures, scores, seals, stores and forwards.

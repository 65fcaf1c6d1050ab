//! Numbers of the signal: filters, R peaks, rhythm, signal quality, synthesis.

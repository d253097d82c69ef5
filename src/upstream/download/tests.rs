//! Downloads against connections in memory.

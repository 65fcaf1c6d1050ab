//! Files of cardiology, read and written exactly.

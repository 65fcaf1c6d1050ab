//! The ways in which a sensor reaches the box. Each adapter gives bytes with the time of
//! their arrival and says what became of the link; none knows what the bytes mean.

pub mod ble;
pub mod serial;

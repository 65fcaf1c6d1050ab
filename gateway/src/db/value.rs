//! Values that go into a statement and come out of a row, alike for every database.
//!
//! Deliberately absent: what a column means.

use cardio_core::clock::UtcMicros;
use cardio_core::ids::{AcquisitionId, BootId, BoxId};
use cardio_wire::intake::ChainKey;
use cardio_wire::lane::{ChainId, Lane};

use super::DbError;

/// A value of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// What can be a value of a statement.
pub trait AsValue {
    /// The value.
    fn value(&self) -> Value<'_>;
}

/// The values of a statement, in the order of `?1`, `?2` and so on.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        &[$($crate::db::AsValue::value(&$value)),*][..]
    };
}
pub(crate) use values;

impl AsValue for Value<'_> {
    fn value(&self) -> Value<'_> {
        *self
    }
}

impl<T: AsValue + ?Sized> AsValue for &T {
    fn value(&self) -> Value<'_> {
        (**self).value()
    }
}

impl<T: AsValue> AsValue for Option<T> {
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, AsValue::value)
    }
}

impl AsValue for i64 {
    fn value(&self) -> Value<'_> {
        Value::Integer(*self)
    }
}

impl AsValue for u64 {
    fn value(&self) -> Value<'_> {
        Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
    }
}

impl AsValue for bool {
    fn value(&self) -> Value<'_> {
        Value::Integer(i64::from(*self))
    }
}

impl AsValue for str {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl AsValue for String {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl AsValue for [u8] {
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl AsValue for Vec<u8> {
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl<const N: usize> AsValue for [u8; N] {
    fn value(&self) -> Value<'_> {
        Value::Bytes(self)
    }
}

impl AsValue for UtcMicros {
    fn value(&self) -> Value<'_> {
        Value::Integer(self.0)
    }
}

impl AsValue for Lane {
    fn value(&self) -> Value<'_> {
        Value::Integer(i64::from(self.number()))
    }
}

/// A row of an answer.
#[derive(Clone, Debug)]
pub struct Row {
    pub(super) act: &'static str,
    pub(super) cells: Vec<Cell>,
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// No value.
    Null,
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// What a value of a row can be read as.
pub trait FromCell: Sized {
    /// The value, or `None` when the cell holds something else.
    fn from_cell(cell: &mut Cell) -> Option<Self>;
}

impl Row {
    /// Takes the value of a column, counted from 0, out of the row.
    ///
    /// # Errors
    /// [`DbError::Damaged`] when there is no such column, or it holds something else.
    pub fn take<T: FromCell>(&mut self, column: usize) -> Result<T, DbError> {
        self.cells
            .get_mut(column)
            .and_then(T::from_cell)
            .ok_or(DbError::Damaged { what: self.act })
    }

    /// Takes the chain that the first three columns name: box, lane and chain.
    ///
    /// # Errors
    /// As [`Row::take`].
    pub fn take_chain(&mut self) -> Result<ChainKey, DbError> {
        Ok(ChainKey {
            device: self.take(0)?,
            lane: self.take(1)?,
            chain: self.take(2)?,
        })
    }
}

impl<T: FromCell> FromCell for Option<T> {
    fn from_cell(cell: &mut Cell) -> Option<Self> {
        match cell {
            Cell::Null => Some(None),
            _ => T::from_cell(cell).map(Some),
        }
    }
}

impl FromCell for i64 {
    fn from_cell(cell: &mut Cell) -> Option<Self> {
        match cell {
            Cell::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

impl FromCell for u64 {
    fn from_cell(cell: &mut Cell) -> Option<Self> {
        i64::from_cell(cell)?.try_into().ok()
    }
}

impl FromCell for u32 {
    fn from_cell(cell: &mut Cell) -> Option<Self> {
        i64::from_cell(cell)?.try_into().ok()
    }
}

impl FromCell for bool {
    fn from_cell(cell: &mut Cell) -> Option<Self> {
        i64::from_cell(cell).map(|number| number != 0)
    }
}

impl FromCell for String {
    fn from_cell(cell: &mut Cell) -> Option<Self> {
        match cell {
            Cell::Text(text) => Some(std::mem::take(text)),
            _ => None,
        }
    }
}

impl FromCell for Vec<u8> {
    fn from_cell(cell: &mut Cell) -> Option<Self> {
        match cell {
            Cell::Bytes(bytes) => Some(std::mem::take(bytes)),
            _ => None,
        }
    }
}

impl<const N: usize> FromCell for [u8; N] {
    fn from_cell(cell: &mut Cell) -> Option<Self> {
        Vec::from_cell(cell)?.try_into().ok()
    }
}

impl FromCell for UtcMicros {
    fn from_cell(cell: &mut Cell) -> Option<Self> {
        i64::from_cell(cell).map(Self)
    }
}

impl FromCell for Lane {
    fn from_cell(cell: &mut Cell) -> Option<Self> {
        Self::from_number(i64::from_cell(cell)?.try_into().ok()?)
    }
}

macro_rules! ids {
    ($($id:ident),*) => {$(
        impl AsValue for $id {
            fn value(&self) -> Value<'_> {
                Value::Bytes(&self.0)
            }
        }

        impl FromCell for $id {
            fn from_cell(cell: &mut Cell) -> Option<Self> {
                FromCell::from_cell(cell).map(Self)
            }
        }
    )*};
}
ids!(AcquisitionId, BootId, BoxId, ChainId);

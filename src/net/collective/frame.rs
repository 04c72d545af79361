//! Messages between two ranks: what is being done, its number, and bytes.

use std::io::{self, Read, Write};

/// What ranks do together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    SumF32,
    SumF64,
    Gather,
    Broadcast,
}

impl Act {
    const ALL: [Self; 4] = [Self::SumF32, Self::SumF64, Self::Gather, Self::Broadcast];

    fn name(code: u8) -> String {
        Self::ALL.get(usize::from(code)).map_or_else(|| format!("act {code}"), |act| format!("{act:?}"))
    }
}

/// Number of an act, so that two ranks that are not at the same place are told apart; and the length of what follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) act: u8,
    pub(super) number: u64,
    pub(super) bytes: u64,
}

impl Head {
    /// Bytes of a head.
    const LENGTH: usize = 17;

    pub(super) fn new(act: Act, number: u64, bytes: usize) -> Self {
        Self { act: act as u8, number, bytes: bytes as u64 }
    }

    /// For an error.
    pub(super) fn describe(&self) -> String {
        format!("{} number {} of {} bytes", Act::name(self.act), self.number, self.bytes)
    }

    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut head = [0; Self::LENGTH];
        head[0] = self.act;
        head[1..9].copy_from_slice(&self.number.to_le_bytes());
        head[9..].copy_from_slice(&self.bytes.to_le_bytes());
        to.write_all(&head)
    }

    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut head = [0; Self::LENGTH];
        from.read_exact(&mut head)?;
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&head[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        Ok(Self { act: head[0], number: number(1), bytes: number(9) })
    }
}

/// A number that has bytes.
pub(super) trait Number: Copy + std::ops::AddAssign {
    /// What a sum of these is called.
    const SUM: Act;
    /// Bytes of one.
    const SIZE: usize;
    fn put(self, bytes: &mut [u8]);
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! number {
    ($t:ty, $act:expr) => {
        impl Number for $t {
            const SUM: Act = $act;
            const SIZE: usize = size_of::<$t>();
            fn put(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }
            fn get(bytes: &[u8]) -> Self {
                let mut value = [0; size_of::<$t>()];
                value.copy_from_slice(bytes);
                <$t>::from_le_bytes(value)
            }
        }
    };
}

number!(f32, Act::SumF32);
number!(f64, Act::SumF64);

/// The bytes of `values`, in `bytes`.
pub(super) fn to_bytes<T: Number>(values: &[T], bytes: &mut Vec<u8>) {
    bytes.resize(values.len() * T::SIZE, 0);
    values.iter().zip(bytes.chunks_exact_mut(T::SIZE)).for_each(|(value, bytes)| value.put(bytes));
}

/// Puts the numbers that `bytes` are in the place of `values`.
pub(super) fn from_bytes<T: Number>(bytes: &[u8], values: &mut [T]) {
    values.iter_mut().zip(bytes.chunks_exact(T::SIZE)).for_each(|(value, bytes)| *value = T::get(bytes));
}

/// Adds the numbers that `bytes` are to `values`.
pub(super) fn add_bytes<T: Number>(bytes: &[u8], values: &mut [T]) {
    values.iter_mut().zip(bytes.chunks_exact(T::SIZE)).for_each(|(value, bytes)| *value += T::get(bytes));
}

/// Several texts of bytes as one.
pub(super) fn pack(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut all = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        all.extend_from_slice(&(part.len() as u64).to_le_bytes());
        all.extend_from_slice(part);
    }
    all
}

/// The texts that [`pack`] made one of; `None` where they are not `count`.
pub(super) fn unpack(mut all: &[u8], count: usize) -> Option<Vec<Vec<u8>>> {
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, rest) = all.split_first_chunk::<8>()?;
        let (part, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        parts.push(part.to_vec());
        all = rest;
    }
    all.is_empty().then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_and_numbers_do_too() {
        let head = Head::new(Act::Gather, 7, 1 << 40);
        let mut bytes = Vec::new();
        head.write(&mut bytes).unwrap();
        assert_eq!((bytes.len(), Head::read(&mut bytes.as_slice()).unwrap()), (Head::LENGTH, head));
        assert_eq!(head.describe(), "Gather number 7 of 1099511627776 bytes");
        let mut values = [1.5_f32, -0.0, f32::MIN_POSITIVE];
        to_bytes(&values, &mut bytes);
        add_bytes(&bytes, &mut values);
        assert_eq!(values, [3.0, 0.0, 2.0 * f32::MIN_POSITIVE]);
        from_bytes(&bytes, &mut values);
        assert_eq!(values[0], 1.5);
    }

    #[test]
    fn texts_come_apart_again_and_damage_is_seen() {
        let parts = vec![vec![1, 2, 3], vec![], vec![4]];
        let all = pack(&parts);
        assert_eq!(unpack(&all, 3), Some(parts));
        assert_eq!(unpack(&all, 2), None);
        assert_eq!(unpack(&all[..all.len() - 1], 3), None);
        assert_eq!(unpack(&[0xff; 8], 1), None);
    }
}

//! What the index says of the samples of a series: pages, and where their blocks stand.

use crate::codec::values::{NotNumbers, put_linear, put_not_numbers, read_not_numbers};
use crate::codec::{Damaged, Input, PAGE, put_signed, put_varint};
use crate::samples::Range;

/// Where a block stands in the data, and how long it is without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHandle {
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

impl BlockHandle {
    fn put(self, out: &mut Vec<u8>) {
        put_varint(out, self.offset);
        put_varint(out, u64::from(self.length));
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Damaged> {
        Ok(Self { offset: input.varint()?, length: input.small()? })
    }
}

/// Where the values of a page are; what they are is said in [`crate::codec::values`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    None,
    Same(u64),
    Linear(i64, i64),
    Xor(BlockHandle),
    Numbers { shared: BlockHandle, page: BlockHandle },
    Decimal { digits: u8, shared: BlockHandle, page: BlockHandle },
}

/// Samples of a series that are encoded together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Page {
    /// Numbers.
    Numbers {
        range: Range,
        count: usize,
        times: BlockHandle,
        starts: Option<BlockHandle>,
        not_numbers: NotNumbers,
        values: Values,
    },
    /// Native histograms.
    Histograms { range: Range, count: usize, block: BlockHandle },
}

const NUMBERS: u8 = 0;
const NUMBERS_WITH_STARTS: u8 = 1;
const HISTOGRAMS: u8 = 2;

impl Page {
    /// The times of its first and its last sample.
    pub(crate) fn range(&self) -> Range {
        match self {
            Self::Numbers { range, .. } | Self::Histograms { range, .. } => *range,
        }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let kind = match self {
            Self::Numbers { starts: None, .. } => NUMBERS,
            Self::Numbers { starts: Some(_), .. } => NUMBERS_WITH_STARTS,
            Self::Histograms { .. } => HISTOGRAMS,
        };
        out.push(kind);
        let (Self::Numbers { range, count, .. } | Self::Histograms { range, count, .. }) = self;
        put_signed(out, range.0);
        put_varint(out, range.1.wrapping_sub(range.0).cast_unsigned());
        put_varint(out, *count as u64);
        match self {
            Self::Numbers { times, starts, not_numbers, values, .. } => {
                times.put(out);
                if let Some(starts) = starts {
                    starts.put(out);
                }
                put_not_numbers(out, not_numbers);
                values.put(out);
            }
            Self::Histograms { block, .. } => block.put(out),
        }
    }

    pub(crate) fn read(input: &mut Input<'_>) -> Result<Self, Damaged> {
        let kind = input.u8()?;
        let oldest = input.signed()?;
        let range = (oldest, oldest.wrapping_add(input.varint()?.cast_signed()));
        let count = input.at_most(PAGE)?;
        match kind {
            NUMBERS | NUMBERS_WITH_STARTS => Ok(Self::Numbers {
                range,
                count,
                times: BlockHandle::read(input)?,
                starts: if kind == NUMBERS { None } else { Some(BlockHandle::read(input)?) },
                not_numbers: read_not_numbers(input, count)?,
                values: Values::read(input)?,
            }),
            HISTOGRAMS => Ok(Self::Histograms { range, count, block: BlockHandle::read(input)? }),
            _ => Err(Damaged("a page has an unknown kind")),
        }
    }
}

impl Values {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => out.push(0),
            Self::Same(bits) => {
                out.push(1);
                put_varint(out, bits.swap_bytes());
            }
            Self::Linear(first, distance) => {
                out.push(2);
                put_linear(out, *first, *distance);
            }
            Self::Xor(page) => {
                out.push(3);
                page.put(out);
            }
            Self::Numbers { shared, page } => {
                out.push(4);
                shared.put(out);
                page.put(out);
            }
            Self::Decimal { digits, shared, page } => {
                out.push(5);
                out.push(*digits);
                shared.put(out);
                page.put(out);
            }
        }
    }

    fn read(input: &mut Input<'_>) -> Result<Self, Damaged> {
        Ok(match input.u8()? {
            0 => Self::None,
            1 => Self::Same(input.varint()?.swap_bytes()),
            2 => Self::Linear(input.signed()?, input.signed()?),
            3 => Self::Xor(BlockHandle::read(input)?),
            4 => Self::Numbers { shared: BlockHandle::read(input)?, page: BlockHandle::read(input)? },
            5 => Self::Decimal {
                digits: input.u8()?,
                shared: BlockHandle::read(input)?,
                page: BlockHandle::read(input)?,
            },
            _ => return Err(Damaged("values have an unknown form")),
        })
    }
}

/// A series of a part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// Names and values of its labels, as numbers of texts.
    pub(crate) labels: Vec<(u32, u32)>,
    /// Its samples.
    pub(crate) pages: Vec<Page>,
}

impl Entry {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.labels.len() as u64);
        for (name, value) in &self.labels {
            put_varint(out, u64::from(*name));
            put_varint(out, u64::from(*value));
        }
        put_varint(out, self.pages.len() as u64);
        self.pages.iter().for_each(|page| page.put(out));
    }

    pub(crate) fn read(input: &mut Input<'_>) -> Result<Self, Damaged> {
        let labels = input.count()?;
        let labels = (0..labels).map(|_| Ok((input.small()?, input.small()?))).collect::<Result<_, _>>()?;
        let pages = input.count()?;
        let pages = (0..pages).map(|_| Page::read(input)).collect::<Result<_, _>>()?;
        Ok(Self { labels, pages })
    }
}

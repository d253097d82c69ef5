//! The requests of a load, made and signed before the clock starts.

use bytes::Bytes;

use crate::Error;
use crate::job::{Load, Object, Reads};
use crate::signing::Signer;

/// A request as it goes on the wire, and what has to come back.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) wire: Bytes,
    /// Where in the pattern the answer begins.
    pub(crate) first: u64,
    pub(crate) bytes: usize,
    pub(crate) is_ranged: bool,
}

/// All requests of a load, in their order.
pub(crate) fn requests(load: &Load, signer: &Signer) -> Result<Vec<Request>, Error> {
    if load.objects.is_empty() || load.connections == 0 {
        return Err("a load needs objects and connections".into());
    }
    match load.read {
        Reads::Whole => load
            .objects
            .iter()
            .map(|object| {
                Ok(Request {
                    wire: signer.get(&object.path, None)?,
                    first: object.first,
                    bytes: object.bytes.try_into()?,
                    is_ranged: false,
                })
            })
            .collect(),
        Reads::Anywhere {
            bytes,
            distinct,
            seed,
        } => {
            let mut dice = Dice(seed);
            (0..distinct)
                .map(|number| {
                    let object = &load.objects[number % load.objects.len()];
                    range(object, bytes, &mut dice, signer)
                })
                .collect()
        }
    }
}

fn range(object: &Object, bytes: u64, dice: &mut Dice, signer: &Signer) -> Result<Request, Error> {
    let places = object
        .bytes
        .checked_sub(bytes)
        .ok_or_else(|| format!("{} is shorter than {bytes} bytes", object.path))?;
    let first = dice.below(places + 1);
    let asked = format!("bytes={first}-{}", first + bytes - 1);
    Ok(Request {
        wire: signer.get(&object.path, Some(&asked))?,
        first: object.first + first,
        bytes: bytes.try_into()?,
        is_ranged: true,
    })
}

/// SplitMix64: the same places in every run.
/// <https://prng.di.unimi.it/splitmix64.c>
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn load(read: Reads) -> Load {
        let object = |path: &str, first| Object {
            path: path.to_owned(),
            first,
            bytes: 1 << 20,
        };
        Load {
            objects: vec![object("/lake/a", 0), object("/lake/b", 1 << 20)],
            read,
            connections: 1,
            requests: None,
            seconds: None,
            pause_micros: 0,
            late_micros: None,
        }
    }

    fn signer() -> Signer {
        Signer::new("127.0.0.1:1", "KEY", "secret", "us-east-1", 1_700_000_000).unwrap()
    }

    #[test]
    fn ranges_differ_stay_inside_and_are_signed_each() {
        let read = Reads::Anywhere {
            bytes: 4096,
            distinct: 500,
            seed: 7,
        };
        let made = requests(&load(read), &signer()).unwrap();
        let wires: HashSet<_> = made.iter().map(|request| &request.wire).collect();
        assert_eq!(wires.len(), 500);
        for (number, request) in made.iter().enumerate() {
            let text = String::from_utf8(request.wire.to_vec()).unwrap();
            assert!(text.contains("SignedHeaders=host;range;x-amz-content-sha256;x-amz-date"));
            let base = if number % 2 == 0 { 0 } else { 1 << 20 };
            assert!(request.first >= base && request.first + 4096 <= base + (1 << 20));
        }
    }

    #[test]
    fn whole_objects_come_in_order() {
        let made = requests(&load(Reads::Whole), &signer()).unwrap();
        let places: Vec<_> = made
            .iter()
            .map(|r| (r.first, r.bytes, r.is_ranged))
            .collect();
        assert_eq!(places, [(0, 1 << 20, false), (1 << 20, 1 << 20, false)]);
    }
}

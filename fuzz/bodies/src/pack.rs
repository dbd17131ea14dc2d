//! Many small inputs in one file: each with its length in two bytes before it.

/// Puts inputs together. One longer than 65,535 bytes is left out.
#[must_use]
pub fn pack(inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut packed = Vec::new();
    for input in inputs {
        if let Ok(len) = u16::try_from(input.len()) {
            packed.extend_from_slice(&len.to_be_bytes());
            packed.extend_from_slice(input);
        }
    }
    packed
}

/// Takes them apart again. A last one that is cut short is left out.
#[must_use]
pub fn unpack(mut packed: &[u8]) -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    while let Some((len, rest)) = packed.split_first_chunk::<2>() {
        let Some((input, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len))) else { break };
        inputs.push(input.to_vec());
        packed = rest;
    }
    inputs
}

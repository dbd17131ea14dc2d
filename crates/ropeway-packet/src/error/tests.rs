use std::collections::HashSet;

use super::*;

#[test]
fn every_error_says_something_else() {
    let errors: [Box<dyn Error>; 27] = [
        Box::new(IpError::Truncated),
        Box::new(IpError::BadVersion(5)),
        Box::new(IpError::BadHeaderLength),
        Box::new(IpError::BadTotalLength),
        Box::new(IpError::BadChecksum),
        Box::new(IpError::BadFragment { offset: 4 }),
        Box::new(IpError::UnrecognizedNextHeader { offset: 6 }),
        Box::new(IpError::UnrecognizedOption { offset: 42, report: OptionReport::Silent }),
        Box::new(IpError::BadOption { offset: 43 }),
        Box::new(IpError::BadRoutingHeader { offset: 42 }),
        Box::new(IpError::TooManyExtensions),
        Box::new(TcpError::Truncated),
        Box::new(TcpError::BadDataOffset),
        Box::new(TcpError::BadChecksum),
        Box::new(TcpError::NotTcp),
        Box::new(TcpError::Fragment),
        Box::new(UdpError::Truncated),
        Box::new(UdpError::BadLength),
        Box::new(UdpError::BadChecksum),
        Box::new(UdpError::MissingChecksum),
        Box::new(UdpError::NotUdp),
        Box::new(UdpError::Fragment),
        Box::new(UdpError::TooLong),
        Box::new(IcmpError::Truncated),
        Box::new(IcmpError::BadChecksum),
        Box::new(IcmpError::NotIcmp),
        Box::new(IcmpError::Fragment),
    ];
    let texts: HashSet<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), errors.len());
    assert!(texts.iter().all(|text| !text.is_empty()));
}

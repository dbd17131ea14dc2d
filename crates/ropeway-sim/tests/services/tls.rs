//! tokio-rustls.

use std::io;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use ropeway::net::{TcpListener, TcpStream};
use ropeway_sim::Net;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{body, clean, troubled};

fn configs() -> (TlsAcceptor, TlsConnector) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["bank".to_owned()]).unwrap();
    let certificate = CertificateDer::from(cert);
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server).into(), Arc::new(client).into())
}

async fn echo(acceptor: TlsAcceptor) -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:443").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let stream = acceptor.accept(stream).await?;
            let (mut reader, mut writer) = tokio::io::split(stream);
            tokio::io::copy(&mut reader, &mut writer).await?;
            writer.shutdown().await
        });
    }
}

async fn there_and_back(connector: TlsConnector, len: usize) -> io::Result<()> {
    let stream = TcpStream::connect("bank:443").await?;
    let stream = connector.connect(ServerName::try_from("bank").unwrap(), stream).await?;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sent = body(len);
    let mut received = Vec::new();
    let write = async {
        writer.write_all(&sent).await?;
        writer.shutdown().await
    };
    let (written, read) = tokio::join!(write, reader.read_to_end(&mut received));
    written?;
    read?;
    assert!(received == sent);
    Ok(())
}

async fn exchange(net: &Net, len: usize, corrupt: f64) -> io::Result<()> {
    let (acceptor, connector) = configs();
    let bank = net.add_host("bank").build();
    bank.link().update(|pipe| pipe.corrupt = corrupt);
    bank.spawn(echo(acceptor));
    net.add_host("customer").build().run(there_and_back(connector, len)).await
}

#[tokio::test(start_paused = true)]
async fn on_a_clean_network() {
    exchange(&clean(), 200_000, 0.0).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn on_a_troubled_network() {
    let net = troubled();
    // TCP's checksum finds an inverted bit; TLS would end the connection.
    exchange(&net, 100_000, 0.05).await.unwrap();
    let counters = net.host("bank").stack().counters();
    assert!(counters.bad_checksums > 0 && counters.tcp_retransmitted > 0, "{counters:?}");
}

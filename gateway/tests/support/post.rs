//! Where messages about alerts arrive: a mail server and an HTTPS receiver, over real TLS on
//! loopback.

use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::tls::certified;

/// A request as it came: its headers, and its body.
pub(crate) type Posted = (hyper::HeaderMap, Vec<u8>);

/// A mail server and an HTTPS receiver with one authority.
pub(crate) struct Post {
    /// Port of the mail server.
    pub(crate) mail: u16,
    /// Port of the receiver.
    pub(crate) web: u16,
    /// What the receiver answers.
    pub(crate) status: Arc<AtomicU16>,
    mails: Arc<Mutex<Vec<String>>>,
    posts: Arc<Mutex<Vec<Posted>>>,
}

impl Post {
    /// Listens, and writes its authority's certificate to `ca`. Mail to `nobody@` is refused.
    pub(crate) async fn open(ca: &Path) -> Self {
        let acceptor = certified(ca);
        let mail = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let post = Self {
            mail: port(&mail),
            web: port(&web),
            status: Arc::new(AtomicU16::new(200)),
            mails: Arc::default(),
            posts: Arc::default(),
        };
        tokio::spawn(take_mail(mail, acceptor.clone(), Arc::clone(&post.mails)));
        let (posts, status) = (Arc::clone(&post.posts), Arc::clone(&post.status));
        tokio::spawn(take_posts(web, acceptor, posts, status));
        post
    }

    /// The mails that came, headers and text as they travelled, soft line ends undone.
    pub(crate) fn mails(&self) -> Vec<String> {
        let mails = self.mails.lock().unwrap();
        mails.iter().map(|mail| mail.replace("=\r\n", "")).collect()
    }

    /// The requests that came.
    pub(crate) fn posts(&self) -> Vec<Posted> {
        self.posts.lock().unwrap().clone()
    }
}

async fn take_mail(listener: TcpListener, tls: TlsAcceptor, mails: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, mails) = (tls.clone(), Arc::clone(&mails));
        tokio::spawn(async move {
            if let Ok(stream) = tls.accept(stream).await {
                // How a client leaves is its own matter.
                let _ = converse(stream, &mails).await;
            }
        });
    }
}

/// The server's side of SMTP (RFC 5321), as much of it as one message needs.
async fn converse<S: AsyncRead + AsyncWrite>(
    stream: S,
    mails: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"220 post.test ESMTP\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let answer: &[u8] = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => b"250-post.test\r\n250 8BITMIME\r\n",
            "RCPT" if line.contains("<nobody@") => b"550 5.1.1 no such mailbox\r\n",
            "MAIL" | "RCPT" => b"250 2.1.0 good\r\n",
            "DATA" => {
                writer.write_all(b"354 go on\r\n").await?;
                let mut mail = String::new();
                while let Some(line) = lines.next_line().await? {
                    if line == "." {
                        break;
                    }
                    mail.push_str(&line);
                    mail.push_str("\r\n");
                }
                mails.lock().unwrap().push(mail);
                b"250 2.0.0 taken over\r\n"
            }
            "QUIT" => b"221 2.0.0 bye\r\n",
            _ => b"500 5.5.1 what?\r\n",
        };
        writer.write_all(answer).await?;
    }
    Ok(())
}

async fn take_posts(
    listener: TcpListener,
    tls: TlsAcceptor,
    posts: Arc<Mutex<Vec<Posted>>>,
    status: Arc<AtomicU16>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, posts, status) = (tls.clone(), Arc::clone(&posts), Arc::clone(&status));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let take = service_fn(|request: Request<Incoming>| {
                let (posts, status) = (Arc::clone(&posts), Arc::clone(&status));
                async move {
                    let headers = request.headers().clone();
                    let body = Body::new(request.into_body());
                    let bytes = axum::body::to_bytes(body, 65_536).await.unwrap();
                    posts.lock().unwrap().push((headers, bytes.to_vec()));
                    let mut response = Response::new(Body::empty());
                    let code = status.load(Ordering::SeqCst);
                    *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap();
                    Ok::<_, Infallible>(response)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            // How a client leaves is its own matter.
            let _ = connection
                .serve_connection(TokioIo::new(stream), take)
                .await;
        });
    }
}

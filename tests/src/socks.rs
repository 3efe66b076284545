//! A SOCKS proxy (RFC 1928, and RFC 1929 for passwords): it takes everybody to one server, whatever they want to reach.

use std::io::{self, Read, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// A running proxy on loopback, for as long as the process is there.
#[derive(Debug)]
pub struct Socks {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Socks {
    /// Takes everybody to `server`; only who has this user and password, if there is one.
    ///
    /// # Errors
    /// If no socket can be had.
    pub fn to(server: SocketAddr, login: Option<(&'static str, &'static str)>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let proxy = Self {
            address: listener.local_addr()?,
            asked: Arc::default(),
        };
        let asked = Arc::clone(&proxy.asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let asked = Arc::clone(&asked);
                std::thread::spawn(move || {
                    // A client that goes away needs no answer.
                    let _ = carry(stream, server, login, &asked);
                });
            }
        });
        Ok(proxy)
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was to be reached, as `HOST:PORT`, once for each connection.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    login: Option<(&str, &str)>,
    asked: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let [version, methods] = bytes(&mut client)?;
    let methods = some(&mut client, methods.into())?;
    let method = if login.is_some() { 2 } else { 0 };
    if version != 5 || !methods.contains(&method) {
        return client.write_all(&[5, 0xff]);
    }
    client.write_all(&[5, method])?;
    if let Some((user, password)) = login {
        let [_, length] = bytes(&mut client)?;
        let given_user = some(&mut client, length.into())?;
        let [length] = bytes(&mut client)?;
        let given = some(&mut client, length.into())?;
        let is_right = given_user == user.as_bytes() && given == password.as_bytes();
        client.write_all(&[1, u8::from(!is_right)])?;
        if !is_right {
            return Ok(());
        }
    }
    let [_, _, _, kind] = bytes(&mut client)?;
    let host = match kind {
        1 => Ipv4Addr::from(bytes::<4>(&mut client)?).to_string(),
        3 => {
            let [length] = bytes(&mut client)?;
            String::from_utf8_lossy(&some(&mut client, length.into())?).into_owned()
        }
        _ => return client.write_all(&[5, 8, 0, 1, 0, 0, 0, 0, 0, 0]),
    };
    let port = u16::from_be_bytes(bytes(&mut client)?);
    asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(format!("{host}:{port}"));
    let Ok(server) = TcpStream::connect(server) else {
        // Connection refused.
        return client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
    };
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let there = std::thread::spawn(move || pass(from, to));
    pass(server, client);
    let _ = there.join();
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    // Whichever side breaks, both end.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn bytes<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn some(stream: &mut TcpStream, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

//! The clients tell each kind of end from the others: a loss test is worth what its clients see.

use crate::harness::clients::connection::{Answer, Connection, Failure};
use crate::harness::eventually;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n17";

/// One request to a server that does this with its only connection.
fn ask(serve: fn(TcpStream)) -> (Connection, Result<Answer, Failure>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Connection::open(listener.local_addr().unwrap()).unwrap();
    let server = thread::spawn(move || serve(listener.accept().unwrap().0));
    let answer = client.get("/echo/17", false);
    server.join().unwrap();
    (client, answer)
}

/// Reads the whole request and sends so much of the answer.
fn answer(mut stream: TcpStream, length: usize) {
    assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    stream.write_all(&WHOLE[..length]).unwrap();
}

#[test]
fn a_whole_answer_is_one_even_if_it_came_before_the_request_was_read() {
    let (client, answered) = ask(|stream| answer(stream, WHOLE.len()));
    let answered = answered.ok().unwrap();
    assert_eq!((answered.status, answered.body.as_str(), answered.closes), (200, "17", true));
    assert!(client.reused);
    eventually("the server's close", || client.is_closed().then_some(()));
    let (_, early) = ask(|mut stream| {
        stream.write_all(WHOLE).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    });
    assert!(early.is_ok());
}

#[test]
fn each_way_to_lose_a_request_is_told() {
    let cases: [(fn(TcpStream), Failure); 4] = [
        (|stream| answer(stream, 0), Failure::Empty),
        (|stream| answer(stream, 20), Failure::Cut),
        (|stream| answer(stream, WHOLE.len() - 1), Failure::Cut),
        // With something unread, the kernel resets.
        (|mut stream| stream.read_exact(&mut [0; 1]).unwrap(), Failure::Reset),
    ];
    for (serve, failure) in cases {
        let (client, lost) = ask(serve);
        assert_eq!(lost.err(), Some(failure));
        assert!(!client.reused);
    }
}

#[test]
fn a_connection_that_was_never_taken_is_refused() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(Connection::open(address).err(), Some(Failure::Refused));
}

#[test]
fn an_open_connection_is_not_taken_for_a_closed_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Connection::open(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    assert!(!client.is_closed());
    drop(server);
    eventually("the server's close", || client.is_closed().then_some(()));
}

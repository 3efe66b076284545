//! What the server answers, and what it makes of clients that break the protocol.

use std::sync::{Arc, atomic::Ordering};

use livepc_disk::nbd::{ExportError, Exports, Listen, Server, Visibility};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, time::timeout};

use crate::{
    client::*,
    device::{Gate, HOLES, MIB, Memory, SIZE, image},
};

const EPERM: u32 = 1;
const EIO: u32 = 5;
const EINVAL: u32 = 22;
const EOVERFLOW: u32 = 75;

fn memory() -> Arc<Memory> {
    Arc::new(Memory::new(image()))
}

async fn last(client: &mut Client, kind: u32, data: &[u8]) -> u32 {
    client.option(kind, data).await.last().unwrap().0
}

#[tokio::test]
async fn options_that_are_wrong_are_refused_and_the_negotiation_goes_on() {
    let server = serve(memory()).await;
    let mut client = Client::connect(&server).await;
    assert_eq!(last(&mut client, 4711, b"what is this").await, ERR_UNSUP);
    assert_eq!(last(&mut client, 11, &[]).await, ERR_UNSUP, "extended headers");
    assert_eq!(last(&mut client, 5, &[]).await, ERR_POLICY, "TLS");
    assert_eq!(last(&mut client, 5, b"x").await, ERR_INVALID, "TLS takes no data");
    assert_eq!(
        last(&mut client, 3, b"x").await,
        ERR_INVALID,
        "LIST takes no data"
    );
    assert_eq!(
        last(&mut client, 8, b"x").await,
        ERR_INVALID,
        "STRUCTURED_REPLY takes no data"
    );
    assert_eq!(
        last(&mut client, 10, &contexts("", &["base:allocation"])).await,
        ERR_INVALID,
        "too early"
    );
    assert_eq!(
        last(&mut client, 7, &[0xff; 6]).await,
        ERR_INVALID,
        "a length that lies"
    );
    assert_eq!(
        last(&mut client, 7, &selection("no such disk", &[])).await,
        ERR_UNKNOWN
    );
    assert_eq!(
        last(&mut client, 7, &selection(&"n".repeat(4097), &[])).await,
        ERR_TOO_BIG
    );
    assert_eq!(last(&mut client, 8, &[]).await, ACK);
    assert_eq!(
        last(&mut client, 10, &contexts("no such disk", &["base:allocation"])).await,
        ERR_UNKNOWN
    );
    assert_eq!(last(&mut client, 6, &selection("", &[3])).await, ACK);
    assert_eq!(
        last(&mut client, 7, &selection("", &[3])).await,
        ACK,
        "after all that, the disk can be had"
    );
    server.shutdown().await;
}

#[tokio::test]
async fn an_export_is_described_as_it_is() {
    let server = serve(memory()).await;
    let mut client = Client::connect(&server).await;
    let replies = client.option(6, &selection("", &[1, 3])).await;
    let simple_flags = 0b101_0000_0111_u16;
    let export = [
        &[0, 0],
        SIZE.to_be_bytes().as_slice(),
        &simple_flags.to_be_bytes(),
    ]
    .concat();
    assert_eq!(
        replies[0],
        (3, export),
        "size; flags, read-only, flush, multi-conn, cache"
    );
    assert_eq!(replies[1], (3, vec![0, 1]), "the name, which is empty");
    let sizes = [
        &[0, 3, 0, 0, 0, 1, 0, 0, 0x10, 0],
        (32u32 << 20).to_be_bytes().as_slice(),
    ]
    .concat();
    assert_eq!(replies[2], (3, sizes), "1 byte, 4 KiB, 32 MiB");
    assert_eq!(replies[3].0, ACK);

    assert_eq!(last(&mut client, 8, &[]).await, ACK);
    let replies = client.option(6, &selection("", &[])).await;
    assert_eq!(
        replies[0].1[10..],
        (simple_flags | 1 << 7).to_be_bytes(),
        "with structured replies also DF"
    );
    let listed = client.option(9, &contexts("", &["base:"])).await;
    assert_eq!(listed[0], (4, b"\0\0\0\0base:allocation".to_vec()));
    let none = client
        .option(10, &contexts("", &["qemu:dirty-bitmap:x", "base:"]))
        .await;
    assert_eq!(
        none.len(),
        1,
        "SET chooses what it names exactly, and that is nothing here: {none:?}"
    );
    server.shutdown().await;
}

#[tokio::test]
async fn an_old_client_gets_its_export_by_name() {
    let server = serve(memory()).await;
    let mut client = Client::connect(&server).await;
    client
        .stream
        .write_all(b"IHAVEOPT\0\0\0\x01\0\0\0\0")
        .await
        .unwrap();
    assert_eq!(client.stream.read_u64().await.unwrap(), SIZE);
    client.stream.read_u16().await.unwrap();
    assert!(
        client.read(70_000, 3000).await == image()[70_000..73_000],
        "and can read it"
    );

    let mut stranger = Client::connect(&server).await;
    stranger
        .stream
        .write_all(b"IHAVEOPT\0\0\0\x01\0\0\0\x02no")
        .await
        .unwrap();
    stranger.hung_up().await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_hidden_export_is_served_but_never_told() {
    let mut exports = Exports::new();
    exports.add("seen", memory(), Visibility::Listed).unwrap();
    exports.add("secret", memory(), Visibility::Hidden).unwrap();
    let taken = exports.add("seen", memory(), Visibility::Hidden);
    assert!(matches!(taken, Err(ExportError::NameTaken { .. })), "{taken:?}");
    let long = exports.add("n".repeat(4097), memory(), Visibility::Hidden);
    assert!(
        matches!(long, Err(ExportError::NameTooLong { len: 4097 })),
        "{long:?}"
    );
    assert!(!format!("{exports:?}").contains("secret"), "nor do logs tell it");

    let server = Server::start(&Listen::Loopback, exports).await.unwrap();
    let mut client = Client::connect(&server).await;
    assert_eq!(
        client.option(3, &[]).await,
        [(2, b"\0\0\0\x04seen".to_vec()), (ACK, Vec::new())]
    );
    assert_eq!(
        last(&mut client, 7, &selection("", &[])).await,
        ERR_UNKNOWN,
        "there is no default"
    );
    assert_eq!(last(&mut client, 7, &selection("secret", &[])).await, ACK);
    server.shutdown().await;
}

#[tokio::test]
async fn a_client_that_talks_nonsense_is_hung_up_on() {
    let server = serve(memory()).await;
    let mut wrong_magic = Client::connect(&server).await;
    wrong_magic.stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    wrong_magic.hung_up().await;

    let mut huge = Client::connect(&server).await;
    huge.stream
        .write_all(b"IHAVEOPT\0\0\0\x07\xff\xff\xff\xff")
        .await
        .unwrap();
    huge.hung_up().await;

    let mut bad_request = Client::structured(&server).await;
    bad_request.stream.write_all(&[0xff; 28]).await.unwrap();
    bad_request.hung_up().await;

    let mut endless_write = Client::structured(&server).await;
    endless_write.send(WRITE, 0, 0, u32::MAX).await;
    endless_write.hung_up().await;

    let mut good = Client::structured(&server).await;
    assert_eq!(good.read(0, 10).await, [0; 10], "others are served as before");
    server.shutdown().await;
}

#[tokio::test]
async fn what_would_change_the_disk_is_not_permitted_and_the_connection_stays_usable() {
    let server = serve(memory()).await;
    for structured in [true, false] {
        let mut client = if structured {
            Client::structured(&server).await
        } else {
            Client::simple(&server).await
        };
        client.send(WRITE, 0, 0, 100_000).await;
        client.stream.write_all(&[0xaa; 100_000]).await.unwrap();
        assert_eq!(client.receive(0).await.error, EPERM);
        assert_eq!(client.ask(TRIM, 0, 0, 4096).await.error, EPERM);
        assert_eq!(client.ask(WRITE_ZEROES, 0, 0, 4096).await.error, EPERM);
        assert_eq!(
            client.ask(99, 0, 0, 4096).await.error,
            EINVAL,
            "an unknown command"
        );
        assert_eq!(client.ask(FLUSH, 0, 0, 0).await.error, 0);
        assert_eq!(client.ask(CACHE, 0, 4096, 4096).await.error, 0);
        assert!(client.read(2 * MIB - 10, 20).await == image()[2097142..2097162]);
    }
    server.shutdown().await;
}

#[tokio::test]
async fn reads_out_of_bounds_are_invalid() {
    let server = serve(memory()).await;
    let mut client = Client::structured(&server).await;
    assert_eq!(client.ask(READ, 0, SIZE, 1).await.error, EINVAL);
    assert_eq!(client.ask(READ, 0, SIZE - 1, 2).await.error, EINVAL);
    assert_eq!(
        client.ask(READ, 0, u64::MAX, 512).await.error,
        EINVAL,
        "offset + length overflows"
    );
    assert_eq!(
        client.ask(READ, 0, 0, (32 << 20) + 1).await.error,
        EINVAL,
        "too much at once"
    );
    assert_eq!(client.ask(READ, DF, 0, (32 << 20) + 1).await.error, EOVERFLOW);
    assert_eq!(
        client.ask(READ, 1, 0, 1).await.error,
        EINVAL,
        "a flag that reads do not have"
    );
    assert_eq!(client.ask(CACHE, 0, SIZE, 1).await.error, EINVAL);
    assert_eq!(client.ask(BLOCK_STATUS, 0, SIZE, 1).await.error, EINVAL);
    assert_eq!(
        client.ask(READ, 0, SIZE, 0).await.error,
        0,
        "nothing at the end is within the disk"
    );
    assert_eq!(
        client.read(SIZE - 1, 1).await,
        image()[SIZE as usize - 1..],
        "the last byte"
    );
    let mut simple = Client::simple(&server).await;
    assert_eq!(
        simple.ask(BLOCK_STATUS, 0, 0, 1).await.error,
        EINVAL,
        "no context was negotiated"
    );
    assert_eq!(
        simple.ask(READ, DF, 0, 1).await.error,
        EINVAL,
        "no structured replies were"
    );
    server.shutdown().await;
}

#[tokio::test]
async fn zero_runs_travel_as_holes_unless_fragments_are_forbidden() {
    let server = serve(memory()).await;
    let mut client = Client::structured(&server).await;
    let (hole, len) = HOLES[1];
    let (from, size) = (hole - 5000, len as u32 + 10_000);
    let answer = client.ask(READ, 0, from, size).await;
    assert_eq!((answer.holes, answer.data.len()), (1, 3), "data, hole, data");
    let answer = client.ask(READ, DF, from, size).await;
    assert_eq!((answer.holes, answer.data.len()), (0, 1), "one chunk");
    assert!(
        answer.data[0].1 == image()[from as usize..][..size as usize],
        "with the same bytes"
    );
    server.shutdown().await;
}

#[tokio::test]
async fn block_status_tells_the_runs() {
    let server = serve(memory()).await;
    let mut client = Client::structured(&server).await;
    let answer = client.ask(BLOCK_STATUS, 0, 1000, 99_000).await;
    assert_eq!(answer.error, 0);
    assert_eq!(
        answer.status,
        [(64_000, 3), (35_000, 0)],
        "the device knows its runs by the thousand"
    );
    let one = client.ask(BLOCK_STATUS, REQ_ONE, 1000, 99_000).await;
    assert_eq!(one.status, [(64_000, 3)]);
    server.shutdown().await;
}

#[tokio::test]
async fn a_read_that_waits_holds_up_no_other() {
    let gate = Arc::new(Gate::new());
    let server = serve(gate.clone()).await;
    let mut client = Client::structured(&server).await;
    let slow = client.send(READ, 0, 0, 512).await;
    gate.waiting(1).await;
    for at in 0..100 {
        assert_eq!(
            client.read(Gate::OPEN_FROM + at, 512).await,
            [7; 512],
            "read {at} overtakes"
        );
    }
    gate.pass(1);
    assert_eq!(
        client.receive(512).await.cookie,
        slow,
        "and the slow one is answered in the end"
    );
    server.shutdown().await;
}

#[tokio::test]
async fn what_goes_wrong_in_a_device_is_an_error_and_never_a_wrong_answer_or_none() {
    let gate = Arc::new(Gate::new());
    let server = serve(gate.clone()).await;
    for structured in [true, false] {
        let mut client = if structured {
            Client::structured(&server).await
        } else {
            Client::simple(&server).await
        };
        assert_eq!(
            client.ask(READ, 0, Gate::WAITED_AT, 512).await.error,
            EIO,
            "the network is gone"
        );
        assert_eq!(
            client.ask(READ, 0, Gate::BROKEN_AT, 512).await.error,
            EIO,
            "the store is broken"
        );
        assert_eq!(
            client.ask(READ, 0, Gate::SHORT_AT, 512).await.error,
            EIO,
            "too few bytes"
        );
        assert_eq!(
            client.read(Gate::OPEN_FROM, 3).await,
            [7; 3],
            "the connection is in step"
        );
        assert_eq!(
            client.ask(READ, 0, Gate::PANIC_AT, 512).await.error,
            EIO,
            "a mistake of ours pauses a machine, and does not end it"
        );
        assert_eq!(
            client.read(Gate::OPEN_FROM, 3).await,
            [7; 3],
            "the connection goes on"
        );
    }
    server.shutdown().await;
}

#[tokio::test]
async fn goodbye_is_said_after_all_answers() {
    let gate = Arc::new(Gate::new());
    let server = serve(gate.clone()).await;
    let mut client = Client::structured(&server).await;
    for _ in 0..10 {
        client.send(READ, 0, 0, 512).await;
    }
    client.send(DISCONNECT, 0, 0, 0).await;
    gate.waiting(10).await;
    gate.pass(10);
    for _ in 0..10 {
        assert_eq!(client.receive(512).await.error, 0);
    }
    client.hung_up().await;
    server.shutdown().await;
}

#[tokio::test]
async fn requests_under_way_are_limited() {
    let gate = Arc::new(Gate::new());
    let server = serve(gate.clone()).await;
    let mut client = Client::structured(&server).await;
    for _ in 0..100 {
        client.send(READ, 0, 0, 512).await;
    }
    gate.waiting(64).await;
    // Whoever is let through makes room for one more: were there no limit, all 100 would have begun by now.
    gate.pass(1);
    client.receive(512).await;
    gate.waiting(65).await;
    assert_eq!(gate.begun(), 65, "one more than the limit, as one was answered");

    let mut greedy = Client::structured(&server).await;
    for _ in 0..5 {
        greedy.send(READ, 0, 0, 32 << 20).await;
    }
    gate.waiting(67).await;
    assert_eq!(gate.begun(), 67, "64 MiB are room for two reads of 32 MiB");
    gate.pass(200);
    for _ in 0..99 {
        client.receive(512).await;
    }
    server.shutdown().await;
}

#[tokio::test]
async fn nothing_is_left_of_a_client_that_vanishes() {
    let gate = Arc::new(Gate::new());
    let server = serve(gate.clone()).await;
    let mut client = Client::structured(&server).await;
    for _ in 0..60 {
        client.send(READ, 0, 0, 512).await;
    }
    gate.waiting(60).await;
    drop(client);
    timeout(PATIENCE, server.shutdown())
        .await
        .expect("the server ends at once");
    assert_eq!(
        gate.given_up.load(Ordering::SeqCst),
        60,
        "every read was given up"
    );
    assert_eq!(Arc::strong_count(&gate), 1, "nobody holds the device any more");
}

#[tokio::test]
async fn shutdown_waits_for_no_client() {
    let gate = Arc::new(Gate::new());
    let server = serve(gate.clone()).await;
    let silent = Client::connect(&server).await;
    let idle = Client::structured(&server).await;
    let mut deaf = Client::structured(&server).await;
    for _ in 0..8 {
        deaf.send(READ, 0, Gate::OPEN_FROM, 8 << 20).await;
    }
    let mut waiting = Client::structured(&server).await;
    waiting.send(READ, 0, 0, 512).await;
    gate.waiting(1).await;
    timeout(PATIENCE, server.shutdown())
        .await
        .expect("the server ends at once");
    assert_eq!(Arc::strong_count(&gate), 1, "nobody holds the device any more");
    for client in [silent, idle, deaf, waiting] {
        client.hung_up().await;
    }
}

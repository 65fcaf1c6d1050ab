//! Several real programs on one PostgreSQL server, killed again and again; and one program
//! whose databases come back from an old backup.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests stop the test that they cannot serve"
)]

mod support;
#[path = "support/visit.rs"]
#[allow(dead_code, reason = "other test files use the rest")]
mod visit;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cardio_wire::lane::Lane;
use cardio_wire::message::CommandAction;
use cardio_wire::record::Record;
use cardio_wire::topic::Topic;
use rumqttc::mqttbytes::v5::{Packet, PubAckReason};
use serde_json::Value;
use support::{Client, Server, TestBox, until};
use visit::{RATE, Visit, reading};

/// A program with a state directory of its own.
struct Program {
    dir: PathBuf,
    child: Option<Child>,
    mqtt: Option<SocketAddr>,
}

impl Program {
    fn new(dir: PathBuf, store: &str) -> Self {
        std::fs::create_dir_all(dir.join("state")).unwrap();
        let config = format!(
            "state = \"{}\"\n{store}[mqtt]\nlisten = \"127.0.0.1:0\"\nack_wait = \"20ms\"\n\
             [https]\nlisten = \"127.0.0.1:0\"\n[enrol]\nlisten = \"127.0.0.1:0\"\n",
            dir.join("state").display()
        );
        std::fs::write(dir.join("gateway.toml"), config).unwrap();
        Self {
            dir,
            child: None,
            mqtt: None,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cardio-gateway"));
        let config = self.dir.join("gateway.toml");
        command.args(arguments).arg("--config").arg(config);
        command
    }

    async fn start(&mut self) {
        let ready = self.dir.join("ready");
        let _ = std::fs::remove_file(&ready);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .unwrap();
        let child = self
            .command(&["run", "--ready-file", ready.to_str().unwrap()])
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        self.child = Some(child);
        let said: Value = until("the gateway to be ready", || async {
            serde_json::from_str(&std::fs::read_to_string(&ready).ok()?).ok()
        })
        .await;
        self.mqtt = Some(said["mqtt"].as_str().unwrap().parse().unwrap());
    }

    /// No warning, no clean-up.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn status(&self) -> Option<Value> {
        let output = self.command(&["status", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    fn add_box(&self, name: &str) -> TestBox {
        let file = self.dir.join(name);
        let add = [
            "boxes",
            "add",
            "--name",
            name,
            "--out",
            file.to_str().unwrap(),
        ];
        assert!(self.command(&add).status().unwrap().success());
        TestBox::from_file(&std::fs::read_to_string(file).unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

async fn say_hello(client: &mut Client, of: &TestBox, acked: u64) {
    let hello = of.hello(reading(1), 1, acked);
    let topic = Topic::UpHello(of.id).to_string();
    client.publish(&topic, hello).await;
}

fn chance(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn frames(of: &mut TestBox, segments: u64) -> Vec<Vec<u8>> {
    let mut visit = Visit::new();
    let mut records = vec![visit.started(None)];
    records.extend((0..segments).map(|second| visit.segment(second * RATE, RATE)));
    records.push(visit.ended(segments * RATE));
    let seal = |record: &Record| of.frame(Lane::Routine, record);
    records.iter().map(seal).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_killed_at_random_lose_nothing_and_file_nothing_twice() {
    let Some(server) = Server::fresh() else {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: CARDIO_TEST_POSTGRES names no server, and only a server has two programs"
        );
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let program = |name: &str| Program::new(dir.path().join(name), &server.config());
    let mut programs = [program("one"), program("two")];
    programs[0].start().await;
    let keys = |at: &Program| at.dir.join("state/keys");
    copy_folder(&keys(&programs[0]), &keys(&programs[1]));
    programs[1].start().await;
    let mut of = programs[0].add_box("FR75-012");
    // The other program hears of the box by itself.
    until("the box to be known everywhere", || async {
        Client::tls_at(programs[1].mqtt.unwrap(), &of)
            .await
            .ok()?
            .hears()
            .await
    })
    .await;

    let frames = frames(&mut of, 118);
    let all = u64::try_from(frames.len()).unwrap();
    let (mut seed, mut acked, mut kills) = (0x5EED_u64, 0_u64, 0);
    while acked < all {
        let at = usize::try_from(chance(&mut seed) % 2).unwrap();
        let mut client = Client::connect_at(programs[at].mqtt.unwrap(), &of).await;
        say_hello(&mut client, &of, acked).await;
        let held = client.acked(&of, Lane::Routine, acked).await;
        assert_eq!(
            held.upto.max(acked),
            held.upto,
            "nothing acknowledged is lost"
        );
        acked = held.upto;
        let some = usize::try_from(1 + chance(&mut seed) % 12).unwrap();
        let from = usize::try_from(acked).unwrap();
        for frame in frames.iter().skip(from).take(some) {
            client
                .publish_frame(&of, Lane::Routine, frame.clone())
                .await;
        }
        if chance(&mut seed).is_multiple_of(3) {
            kills += 1;
            programs[at].kill();
            programs[at].start().await;
        } else {
            let upto = all.min(acked + u64::try_from(some).unwrap());
            acked = client.acked(&of, Lane::Routine, upto).await.upto;
        }
    }
    assert!(kills > 0);
    let status = until("all of it to be filed", || async {
        let status = programs[1].status()?;
        let record = &status["record"];
        (record["records"] == all && record["reports_due"] == 0).then_some(status)
    })
    .await;
    assert_eq!(status["inbox"]["frames"], all);
    for nothing in ["conflicts", "missing", "broken_lanes", "forked_lanes"] {
        assert_eq!(status["inbox"][nothing], 0, "{nothing}");
    }
    // 118 s in spans of at most 10 s, each once, whoever filed it.
    let export = dir.path().join("export.json");
    let find = programs[0]
        .command(&["records", "find", "--json"])
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&find.stdout).unwrap();
    let id = found["acquisitions"][0]["acquisition"].as_str().unwrap();
    let verb = [
        "records",
        "export",
        "--acquisition",
        id,
        "--out",
        export.to_str().unwrap(),
    ];
    assert!(programs[0].command(&verb).status().unwrap().success());
    let bundle: Value = serde_json::from_slice(&std::fs::read(export).unwrap()).unwrap();
    let spans = bundle["entry"].as_array().unwrap().iter().filter(|entry| {
        entry["resource"]["resourceType"] == "Observation"
            && entry["resource"].pointer("/component").is_some()
    });
    assert_eq!(spans.count(), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_from_an_old_backup_gets_again_what_it_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::new(dir.path().join("one"), "");
    program.start().await;
    let mut of = program.add_box("FR75-012");
    let frames = frames(&mut of, 18);
    let mut client = Client::connect_at(program.mqtt.unwrap(), &of).await;
    for frame in &frames[..5] {
        client
            .publish_frame(&of, Lane::Routine, frame.clone())
            .await;
    }
    client.acked(&of, Lane::Routine, 5).await;
    let backup = dir.path().join("backup");
    let verb = ["backup", backup.to_str().unwrap()];
    assert!(program.command(&verb).status().unwrap().success());
    for file in [
        "inbox.sqlite",
        "record.sqlite",
        "enrol.sqlite",
        "access.sqlite",
    ] {
        assert!(backup.join(file).is_file(), "{file}");
    }
    for frame in &frames[5..] {
        client
            .publish_frame(&of, Lane::Routine, frame.clone())
            .await;
    }
    client.acked(&of, Lane::Routine, 20).await;
    program.kill();
    let restore = ["restore", backup.to_str().unwrap()];
    assert!(program.command(&restore).status().unwrap().success());

    program.start().await;
    let refused = program.command(&restore).output().unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("state.in-use"), "{said}");
    let mut client = Client::connect_at(program.mqtt.unwrap(), &of).await;
    say_hello(&mut client, &of, 20).await;
    let from = loop {
        match client.next().await {
            Some(Packet::Publish(publish)) => {
                let command = cardio_wire::message::Command::verify(&publish.payload, &of.control);
                if let Ok(command) = command {
                    break command.action;
                }
            }
            Some(Packet::PubAck(_)) => {}
            other => panic!("no command but {other:?}"),
        }
    };
    let wanted = CommandAction::Resend {
        lane: Lane::Routine,
        chain: of.chain,
        from_seq: 6,
    };
    assert_eq!(from, wanted);
    let mut last = 0;
    for frame in &frames[5..] {
        last = client
            .publish_frame(&of, Lane::Routine, frame.clone())
            .await;
    }
    assert_eq!(client.puback(last).await.reason, PubAckReason::Success);
    let status = until("all of it to be filed", || async {
        let status = program.status()?;
        (status["record"]["records"] == 20).then_some(status)
    })
    .await;
    assert_eq!(
        (&status["inbox"]["frames"], &status["inbox"]["missing"]),
        (&20.into(), &0.into())
    );
}

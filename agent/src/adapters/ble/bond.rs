//! Who answers BlueZ while a bond is made: an agent that can neither show nor ask anything,
//! and that agrees for one device only.
//!
//! It lives on a connection and a thread of its own for as long as the bond takes; BlueZ
//! forgets it with the connection. Deliberately absent: numbers that a person compares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bluez_async::DeviceId;
use dbus::blocking::Connection;
use dbus::channel::{MatchingReceiver as _, Sender as _};
use dbus::message::MatchRule;
use dbus::{Message, MethodErr, Path};
use tokio::sync::oneshot;

use super::BleError;

const PATH: &str = "/cardio/agent";
const MANAGER: &str = "org.bluez.AgentManager1";
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// How often the thread looks whether it is still needed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The agent; it ends when dropped.
#[derive(Debug)]
pub(super) struct Agent {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Registers an agent that agrees to a bond with `device`.
    pub(super) async fn register(device: DeviceId) -> Result<Self, BleError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, told) = oneshot::channel();
        let stops = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("bond".to_owned())
            .spawn(move || serve(&device.into(), &stops, tell))
            .map_err(|err| failed(&err))?;
        let agent = Self {
            stop,
            thread: Some(thread),
        };
        match told.await {
            Ok(Ok(())) => Ok(agent),
            Ok(Err(err)) => Err(failed(&err)),
            Err(err) => Err(failed(&err)),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // it has nothing to say but that it is over
            let _ = thread.join();
        }
    }
}

fn failed(err: &dyn std::error::Error) -> BleError {
    BleError::Failed {
        act: "answering for a bond",
        why: err.to_string(),
    }
}

fn serve(
    device: &Path<'static>,
    stop: &AtomicBool,
    tell: oneshot::Sender<Result<(), dbus::Error>>,
) {
    let registered = register(device);
    let (connection, answer) = match registered {
        Ok(connection) => (Some(connection), Ok(())),
        Err(err) => (None, Err(err)),
    };
    // whoever asked may have gone; then the agent is dropped, and this ends
    let _ = tell.send(answer);
    if let Some(connection) = connection {
        while !stop.load(Ordering::Relaxed) && connection.process(LOOK_EVERY).is_ok() {}
    }
}

fn register(device: &Path<'static>) -> Result<Connection, dbus::Error> {
    let connection = Connection::new_system()?;
    let device = device.clone();
    connection.start_receive(
        MatchRule::new_method_call(),
        Box::new(move |call, connection| {
            // BlueZ may have gone meanwhile, and then nobody waits for the answer
            let _ = connection.send(answer(&call, &device));
            true
        }),
    );
    let manager = connection.with_proxy("org.bluez", "/org/bluez", ASK_LIMIT);
    let path = Path::from(PATH);
    let can = "NoInputNoOutput";
    manager.method_call::<(), _, _, _>(MANAGER, "RegisterAgent", (path.clone(), can))?;
    manager.method_call::<(), _, _, _>(MANAGER, "RequestDefaultAgent", (path,))?;
    Ok(connection)
}

/// What is answered: yes for the device that is to be bonded, no to everything else.
fn answer(call: &Message, device: &Path<'_>) -> Message {
    let about = call.get1::<Path<'_>>();
    let is_ours = about.is_some_and(|about| about == *device);
    match call.member().as_deref() {
        Some("Release" | "Cancel") => call.method_return(),
        Some("RequestConfirmation" | "RequestAuthorization" | "AuthorizeService") if is_ours => {
            call.method_return()
        }
        _ => MethodErr::from(("org.bluez.Error.Rejected", "not asked for")).to_message(call),
    }
}

#[cfg(test)]
mod tests {
    use super::{Message, Path, answer};
    use dbus::MessageType;

    fn asked(member: &str, device: &str) -> MessageType {
        let mut call = Message::new_method_call("a.b", super::PATH, "org.bluez.Agent1", member)
            .unwrap()
            .append1(Path::from(device));
        call.set_serial(7);
        answer(&call, &Path::from("/org/bluez/hci0/dev_A")).msg_type()
    }

    #[test]
    fn a_bond_is_agreed_to_with_the_device_that_was_named_and_with_no_other() {
        let named = "/org/bluez/hci0/dev_A";
        assert_eq!(
            asked("RequestConfirmation", named),
            MessageType::MethodReturn
        );
        let other = "/org/bluez/hci0/dev_B";
        assert_eq!(asked("RequestConfirmation", other), MessageType::Error);
        assert_eq!(asked("RequestPinCode", named), MessageType::Error);
    }
}

//! What a process that holds keys and signal in memory does before anything else: no core dump,
//! no reader beside it, and files that nobody else can open.

use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask,
};

/// Closes the ways in which memory or files of this process could be read by others.
///
/// # Errors
/// What the system said when a core dump could not be ruled out; the process must not go on.
pub fn close_leaks() -> std::io::Result<()> {
    umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

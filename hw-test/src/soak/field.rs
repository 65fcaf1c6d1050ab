//! Where it goes wrong: the programs, their cards, the network between them, and every fault
//! with its end.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::fault::{Fault, Kind};
use crate::chance::Chance;
use crate::child::Program;
use crate::clock::{StopWatch, wait_for};
use crate::cuts::word::Word;
use crate::cuts::{INBOX, OUTBOX};
use crate::disk::{Card, Host};
use crate::out::say;
use crate::proxy::{Proxy, Road, Traffic, Weather};
use crate::visit::Stage;

/// Sizes of the file systems; the images are sparse.
const HOST_MIB: u64 = 32 * 1024;
const BOX_MIB: u64 = 512;
const GATEWAY_MIB: u64 = 4096;

/// Most bits that change at once.
const FLIPS: (u64, u64) = (1, 16);

/// Where the box's wall clock jumps to, in seconds from the truth: home, an hour either way, and
/// before everything that it was ever told.
const JUMPS_S: [i64; 5] = [0, 3_600, -3_600, -86_400, -1_700_000_000];

/// How often a gateway that ends while it starts is started again, and after how long: as its
/// service manager does.
const STARTS: u32 = 5;
const START_AGAIN: Duration = Duration::from_secs(1);

/// How long a gateway from an old backup may take to be sent everything again.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(120);

/// Whom a fault hits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Box,
    Gateway,
    Both,
}

impl Who {
    fn has_box(self) -> bool {
        self != Self::Gateway
    }

    fn has_gateway(self) -> bool {
        self != Self::Box
    }
}

/// The programs in the field.
pub(crate) struct Field {
    // Dropped in this order: programs, cards, the file system that holds them.
    agent: Program,
    gateway: Program,
    proxy: Proxy,
    cards: Option<Cards>,
    stage: Stage,
    /// A state of the gateway that may be put back.
    backup: Option<PathBuf>,
    /// Whether the gateway came from a backup and may not have caught up.
    is_behind: bool,
    /// Starts that no fault asked for.
    pub(crate) restarts: u64,
}

/// Cards that can fail, under the states of both programs.
pub(crate) struct Cards {
    box_: Card,
    gateway: Card,
    host: Host,
}

impl Cards {
    /// Makes them and puts them under the states of `stage`.
    pub(crate) fn make(folder: &Path, stage: &Stage) -> anyhow::Result<Self> {
        let host = Host::make(folder, HOST_MIB)?;
        Ok(Self {
            box_: host.card("box", BOX_MIB, &stage.agent_state())?,
            gateway: host.card("gateway", GATEWAY_MIB, &stage.gateway_state())?,
            host,
        })
    }
}

impl Field {
    /// The programs, running.
    pub(crate) fn new(
        stage: Stage,
        cards: Option<Cards>,
        proxy: Proxy,
        gateway: Program,
        agent: Program,
    ) -> Self {
        Self {
            agent,
            gateway,
            proxy,
            cards,
            stage,
            backup: None,
            is_behind: false,
            restarts: 0,
        }
    }

    /// Where the programs are.
    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The box.
    pub(crate) fn agent(&mut self) -> &mut Program {
        &mut self.agent
    }

    /// The gateway.
    pub(crate) fn gateway(&mut self) -> &mut Program {
        &mut self.gateway
    }

    /// What has passed between box and gateway.
    pub(crate) fn traffic(&self) -> Traffic {
        self.proxy.traffic()
    }

    /// What the box says now; nothing while its database is being replaced.
    pub(crate) fn word(&self) -> Option<Word> {
        Word::of(&self.stage.agent_state().join(OUTBOX)).ok()
    }

    /// Lets a fault happen and heals it; weather that lingers clears up with the next fault.
    pub(crate) fn suffer(&mut self, fault: &Fault) -> anyhow::Result<()> {
        self.begin(fault)?;
        if !fault.lingers() {
            self.clear_up();
        }
        Ok(())
    }

    /// Ends bad weather.
    pub(crate) fn clear_up(&self) {
        self.proxy.set(Weather::default());
    }

    fn begin(&mut self, fault: &Fault) -> anyhow::Result<()> {
        let lasts = Duration::from_millis(fault.lasts_ms);
        match fault.kind {
            Kind::KillBox => self.kill(Who::Box, lasts),
            Kind::KillGateway => self.kill(Who::Gateway, lasts),
            Kind::KillBoth => self.kill(Who::Both, lasts),
            Kind::PowerBox => self.cut_power(Who::Box, lasts),
            Kind::PowerGateway => self.cut_power(Who::Gateway, lasts),
            Kind::PowerBoth => self.cut_power(Who::Both, lasts),
            Kind::FullBox => self.fill(Who::Box, lasts),
            Kind::FullGateway => self.fill(Who::Gateway, lasts),
            Kind::DeadCardBox => self.break_card(Who::Box, lasts),
            Kind::DeadDiskGateway => self.break_card(Who::Gateway, lasts),
            Kind::WriteErrors => self.fail_writes(lasts),
            Kind::FlipStopped => self.flip_bits(fault, false),
            Kind::FlipRunning => self.flip_bits(fault, true),
            Kind::OldBackup => self.put_old_backup_back(lasts),
            Kind::Reset => {
                self.proxy.cut();
                Ok(())
            }
            Kind::Refuse => {
                self.proxy.set(Weather::closed());
                self.proxy.cut();
                pause(lasts);
                Ok(())
            }
            Kind::Reorder => {
                // A box that starts again opens a second connection and overtakes its first.
                self.proxy.strand();
                self.kill(Who::Box, Duration::ZERO)?;
                pause(lasts);
                self.proxy.release();
                Ok(())
            }
            Kind::Delay => {
                let late = Duration::from_millis(200);
                self.weather(Road::far(late, late), lasts)
            }
            Kind::Throttle => self.weather(Road::slow(30_000), lasts),
            Kind::HalfOpen => self.weather(Road::lost(), lasts),
            Kind::Hold => self.weather(Road::held(), lasts),
            Kind::ClockJump => {
                let chosen = usize::try_from(fault.seed).unwrap_or_default() % JUMPS_S.len();
                let seconds = JUMPS_S.get(chosen).copied().unwrap_or_default();
                self.stage.shift_wall_clock(seconds)?;
                pause(lasts);
                Ok(())
            }
            Kind::Corrupt => self.weather(Road::falsifying(20), lasts),
        }
    }

    /// Starts again what has ended by itself, which nothing should.
    pub(crate) fn revive(&mut self) -> anyhow::Result<()> {
        if self.gateway.has_ended()? {
            say(self.gateway.last_words());
            self.restarts += 1;
            self.start_gateway()?;
        }
        if self.agent.has_ended()? {
            say(self.agent.last_words());
            self.restarts += 1;
            self.agent = self.stage.start_agent()?;
        }
        Ok(())
    }

    fn start_gateway(&mut self) -> anyhow::Result<()> {
        for _ in 1..STARTS {
            match self.stage.start_gateway() {
                Ok(gateway) => {
                    self.gateway = gateway;
                    return Ok(());
                }
                Err(err) => say(format!("{err:#}")),
            }
            self.restarts += 1;
            pause(START_AGAIN);
        }
        self.gateway = self.stage.start_gateway()?;
        Ok(())
    }

    fn kill(&mut self, who: Who, lasts: Duration) -> anyhow::Result<()> {
        self.down(who)?;
        pause(lasts);
        self.up(who)
    }

    fn down(&mut self, who: Who) -> anyhow::Result<()> {
        if who.has_box() {
            self.agent.kill()?;
        }
        if who.has_gateway() {
            self.gateway.kill()?;
        }
        Ok(())
    }

    fn up(&mut self, who: Who) -> anyhow::Result<()> {
        if who.has_gateway() {
            self.start_gateway()?;
        }
        if who.has_box() {
            self.agent = self.stage.start_agent()?;
        }
        Ok(())
    }

    /// The processor stops, and the cards are as their devices had them.
    fn cut_power(&mut self, who: Who, lasts: Duration) -> anyhow::Result<()> {
        if who.has_box() {
            self.agent.freeze()?;
        }
        if who.has_gateway() {
            self.gateway.freeze()?;
        }
        let cards = self.cards.as_mut().context(NO_CARDS)?;
        let of_box = who.has_box().then(|| cards.box_.cut("box-cut"));
        let of_gateway = who.has_gateway().then(|| cards.gateway.cut("gateway-cut"));
        let (of_box, of_gateway) = (of_box.transpose()?, of_gateway.transpose()?);
        self.down(who)?;
        let cards = self.cards.as_mut().context(NO_CARDS)?;
        if let Some(image) = of_box {
            cards.box_.replace_with(&image)?;
        }
        if let Some(image) = of_gateway {
            cards.gateway.replace_with(&image)?;
        }
        pause(lasts);
        self.up(who)
    }

    fn card(&mut self, who: Who) -> anyhow::Result<&mut Card> {
        let cards = self.cards.as_mut().context(NO_CARDS)?;
        Ok(match who {
            Who::Box => &mut cards.box_,
            Who::Gateway | Who::Both => &mut cards.gateway,
        })
    }

    fn fill(&mut self, who: Who, lasts: Duration) -> anyhow::Result<()> {
        let card = self.card(who)?;
        card.fill()?;
        pause(lasts);
        card.free()
    }

    fn break_card(&mut self, who: Who, lasts: Duration) -> anyhow::Result<()> {
        self.card(who)?.break_down()?;
        pause(lasts);
        self.down(who)?;
        let card = self.card(who)?;
        card.unmount()?;
        card.mount()?;
        self.up(who)
    }

    /// The device under both cards has no block to give: writing back fails, and goes on failing
    /// until the cards are out.
    fn fail_writes(&mut self, lasts: Duration) -> anyhow::Result<()> {
        self.cards.as_ref().context(NO_CARDS)?.host.fill()?;
        pause(lasts);
        self.down(Who::Both)?;
        let cards = self.cards.as_mut().context(NO_CARDS)?;
        cards.box_.unmount()?;
        cards.gateway.unmount()?;
        cards.host.free()?;
        cards.box_.mount()?;
        cards.gateway.mount()?;
        self.up(Who::Both)
    }

    /// What is destroyed at the box must be the gateway's already, or be named: a gateway that
    /// has just lost it too is given time to be sent it again.
    fn flip_bits(&mut self, fault: &Fault, running: bool) -> anyhow::Result<()> {
        self.clear_up();
        self.wait_until_caught_up()?;
        self.drop_backup()?;
        let outbox = self.stage.agent_state().join(OUTBOX);
        if !running {
            self.agent.kill()?;
        }
        flip(&outbox, &mut Chance::new(fault.seed))?;
        pause(Duration::from_millis(fault.lasts_ms));
        if !running {
            self.agent = self.stage.start_agent()?;
        }
        Ok(())
    }

    fn wait_until_caught_up(&mut self) -> anyhow::Result<()> {
        if !std::mem::take(&mut self.is_behind) {
            return Ok(());
        }
        let inbox = self.stage.gateway_state().join(INBOX);
        wait_for("the gateway to catch up", CATCH_UP_LIMIT, || {
            let word = self.word();
            Ok(word.filter(|word| word.is_held_by(&inbox)).map(drop))
        })
    }

    fn put_old_backup_back(&mut self, lasts: Duration) -> anyhow::Result<()> {
        let kept = self.backup.take();
        let backup = match kept {
            Some(backup) => backup,
            None => self.card(Who::Gateway)?.cut("gateway-backup")?,
        };
        pause(lasts);
        self.gateway.kill()?;
        self.card(Who::Gateway)?.replace_with(&backup)?;
        self.start_gateway()?;
        self.is_behind = true;
        self.backup = Some(self.card(Who::Gateway)?.cut("gateway-backup")?);
        Ok(())
    }

    fn drop_backup(&mut self) -> anyhow::Result<()> {
        match self.backup.take() {
            Some(backup) => std::fs::remove_file(backup).context("cannot remove the backup"),
            None => Ok(()),
        }
    }

    fn weather(&self, road: Road, lasts: Duration) -> anyhow::Result<()> {
        self.proxy.set(Weather::both(road));
        pause(lasts);
        Ok(())
    }
}

const NO_CARDS: &str = "this fault needs cards that can fail";

fn pause(lasts: Duration) {
    StopWatch::start().sleep_until(lasts);
}

/// Changes bits of a file at places by chance.
fn flip(path: &Path, chance: &mut Chance) -> anyhow::Result<()> {
    let failed = || format!("cannot change bits of {}", path.display());
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .with_context(failed)?;
    let len = file.metadata().with_context(failed)?.len();
    if len == 0 {
        bail!("{} is empty", path.display());
    }
    for _ in 0..chance.between(FLIPS) {
        let at = chance.below(len);
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).with_context(failed)?;
        let [before] = byte;
        let mask = 1_u8.rotate_left(u32::try_from(chance.below(8)).unwrap_or_default());
        file.write_all_at(&[before ^ mask], at)
            .with_context(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::flip;
    use crate::chance::Chance;

    #[test]
    fn a_few_bits_change_and_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [0x55_u8; 4096]).unwrap();
        flip(file.path(), &mut Chance::new(9)).unwrap();
        let after = std::fs::read(file.path()).unwrap();
        let changed: u32 = after.iter().map(|byte| (byte ^ 0x55).count_ones()).sum();
        assert!((1..=16).contains(&changed), "{changed}");
        assert_eq!(after.len(), 4096);
    }

    #[test]
    fn an_empty_file_has_no_bits() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(flip(file.path(), &mut Chance::new(9)).is_err());
    }
}

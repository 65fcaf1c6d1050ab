//! What changed, in the order of the commits: of one resource, of one type, or of everything.
//!
//! Every version has a number, without a hole and in the order in which versions became visible,
//! on one gateway or on several. Whoever has read up to a number and asks for what comes after it
//! misses nothing, whatever was committed meanwhile.

use cardio_core::clock::UtcMicros;

use super::scope::Scope;
use super::store::{Versioned, dressed};
use crate::db::{AsValue as _, Connection, DbError, Value};

/// Which changes are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesQuery {
    /// Of one type only.
    pub kind: Option<&'static str>,
    /// Of one resource only.
    pub id: Option<String>,
    /// Begins with the first version written at this instant or later.
    pub since: Option<UtcMicros>,
    /// The number where the page before ended.
    pub after: Option<u64>,
    /// Oldest first, as a follower reads; else newest first.
    pub oldest_first: bool,
    /// Versions on a page.
    pub count: u32,
}

/// One version that was written.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its number.
    pub seq: u64,
    /// Type of the resource.
    pub kind: String,
    /// Logical id of the resource.
    pub id: String,
    /// The version.
    pub versioned: Versioned,
}

/// One page of changes.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The versions of this page.
    pub page: Vec<Change>,
    /// Whether there are more behind it by now.
    pub more: bool,
    /// Where a follower goes on: the number of the last version of this page, or of the one
    /// before the place where the page would begin.
    pub reached: u64,
    /// How many versions one resource has, when only its versions were asked for and all of them
    /// are in scope.
    pub total: Option<u64>,
}

/// Reads a page of changes of what is in scope; a version that is not in scope itself leaves its
/// place on the page empty.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn changes(
    connection: &Connection,
    query: &ChangesQuery,
    scope: &Scope,
) -> Result<Changes, DbError> {
    let act = "read what changed";
    let begin = begin(connection, query)?;
    let mut values = vec![begin.value()];
    let mut bind = |value| {
        values.push(value);
        format!("?{}", values.len())
    };
    let mut sql = String::from(
        "SELECT c.seq, c.kind, c.id, c.version, c.updated_us, coalesce(r.body, h.body)
         FROM changes c
         LEFT JOIN resources r ON r.kind = c.kind AND r.id = c.id AND r.version = c.version
         LEFT JOIN history h ON h.kind = c.kind AND h.id = c.id AND h.version = c.version
         WHERE c.seq > ?1",
    );
    if let (false, Some(after)) = (query.oldest_first, &query.after) {
        sql.push_str(&format!(" AND c.seq < {}", bind(after.value())));
    }
    if let Some(kind) = &query.kind {
        sql.push_str(&format!(" AND c.kind = {}", bind(kind.value())));
    }
    if let Some(id) = &query.id {
        sql.push_str(&format!(" AND c.id = {}", bind(id.value())));
    }
    if *scope != Scope::Everything {
        let within = scope.condition(("c.kind", "c.id"), &mut bind);
        sql.push_str(&format!(" AND {within}"));
    }
    let order = if query.oldest_first { "ASC" } else { "DESC" };
    let limit = bind(Value::Integer(i64::from(query.count) + 1));
    sql.push_str(&format!(" ORDER BY c.seq {order} LIMIT {limit}"));
    let mut rows = connection.rows(act, &sql, &values)?;
    let room = usize::try_from(query.count).unwrap_or(usize::MAX);
    let more = rows.len() > room;
    rows.truncate(room);
    let mut page = Vec::with_capacity(rows.len());
    let mut reached = begin;
    for mut row in rows {
        let body: String = row.take(5)?;
        let change = Change {
            seq: row.take(0)?,
            kind: row.take(1)?,
            id: row.take(2)?,
            versioned: dressed(row.take(3)?, row.take(4)?, &body)?,
        };
        reached = change.seq;
        if scope.tells(connection, &change.kind, &change.versioned.resource)? {
            page.push(change);
        }
    }
    Ok(Changes {
        page,
        more,
        reached,
        total: match scope {
            Scope::Everything => total(connection, query)?,
            _ => None,
        },
    })
}

fn total(connection: &Connection, query: &ChangesQuery) -> Result<Option<u64>, DbError> {
    let (Some(kind), Some(id), None) = (&query.kind, &query.id, &query.since) else {
        return Ok(None);
    };
    connection.cell(
        "count the versions of a resource",
        "SELECT count(*) FROM changes WHERE kind = ?1 AND id = ?2",
        &[kind.value(), id.value()],
    )
}

/// The number behind which the answer begins.
fn begin(connection: &Connection, query: &ChangesQuery) -> Result<u64, DbError> {
    if let (true, Some(after)) = (query.oldest_first, query.after) {
        return Ok(after);
    }
    let act = "find where changes begin";
    let Some(since) = query.since else {
        return Ok(0);
    };
    let first: Option<Option<u64>> = connection.cell(
        act,
        "SELECT min(seq) FROM changes WHERE updated_us >= ?1",
        &[since.value()],
    )?;
    if let Some(first) = first.flatten() {
        return Ok(first.saturating_sub(1));
    }
    newest(connection)
}

/// The number of the newest version; 0 when there is none.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn newest(connection: &Connection) -> Result<u64, DbError> {
    let newest = connection.cell(
        "find the newest change",
        "SELECT coalesce(max(seq), 0) FROM changes",
        &[],
    )?;
    Ok(newest.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::{STEPS, put};
    use super::{ChangesQuery, Scope, changes};
    use crate::db::testing::Fresh;
    use crate::db::{Connection, Schema, Writer};
    use cardio_core::clock::UtcMicros;
    use serde_json::json;
    use std::collections::BTreeSet;

    const FEED: ChangesQuery = ChangesQuery {
        kind: None,
        id: None,
        since: None,
        after: None,
        oldest_first: true,
        count: 3,
    };

    fn write(connection: &Connection, kind: &str, id: &str, status: usize, at: i64) {
        let resource = json!({"resourceType": kind, "id": id, "status": status.to_string()});
        put(connection, &resource, UtcMicros(at)).unwrap();
    }

    #[test]
    fn versions_are_told_in_the_order_in_which_they_were_written() {
        Fresh::on(STEPS, |c| {
            write(c, "Task", "a", 1, 30);
            write(c, "Device", "b", 1, 10);
            write(c, "Task", "a", 2, 20);
            write(c, "Task", "a", 2, 40);
            let told = |query: &ChangesQuery| {
                let page = changes(c, query, &Scope::Everything)
                    .unwrap()
                    .page
                    .into_iter();
                page.map(|one| (one.seq, one.id, one.versioned.version))
                    .collect::<Vec<_>>()
            };
            let of = |id: &str| id.to_owned();
            let all = [(1, of("a"), 1), (2, of("b"), 1), (3, of("a"), 2)];
            assert_eq!(told(&FEED), all);
            let newest_first = ChangesQuery {
                oldest_first: false,
                kind: Some("Task"),
                ..FEED
            };
            assert_eq!(told(&newest_first), [(3, of("a"), 2), (1, of("a"), 1)]);
            // From the first that was written then or later: what follows it is told in any case.
            let since = |at| ChangesQuery {
                since: Some(UtcMicros(at)),
                ..FEED
            };
            assert_eq!(told(&since(25)).len(), 3);
            assert!(told(&since(31)).is_empty());
            assert_eq!(
                changes(c, &since(31), &Scope::Everything).unwrap().reached,
                3
            );
        });
    }

    #[test]
    fn a_record_of_before_tells_its_versions_too() {
        let fresh = Fresh::new();
        let before = STEPS
            .iter()
            .position(|step| step.contains("CREATE TABLE changes"))
            .unwrap();
        let schema = |steps| Schema {
            place: fresh.place(),
            part: "test",
            steps,
        };
        let older = Writer::start(schema(&STEPS[..before]), 1).unwrap();
        let rows = |tx: &Connection| {
            let resources = "INSERT INTO resources
                VALUES ('Task', 'a', 2, 20, '{}'), ('Task', 'b', 1, 15, '{}')";
            tx.execute("write", resources, &[])?;
            let history = "INSERT INTO history VALUES ('Task', 'a', 1, 10, '{}')";
            tx.execute("write", history, &[])
        };
        older.write_blocking(rows).unwrap();
        drop(older);
        let newer = Writer::start(schema(STEPS), 1).unwrap();
        let told = newer
            .readers()
            .read(|c| changes(c, &FEED, &Scope::Everything))
            .unwrap();
        let told: Vec<_> = told.page.into_iter().map(|one| (one.seq, one.id)).collect();
        let of = |id: &str| id.to_owned();
        assert_eq!(told, [(1, of("a")), (2, of("b")), (3, of("a"))]);
    }

    /// Several writers, on a server as several programs; a follower that reads all the time.
    #[test]
    fn a_follower_misses_nothing_that_is_committed_while_it_reads() {
        const WRITERS: usize = 3;
        const EACH: usize = 60;
        let fresh = Fresh::new();
        let schema = Schema {
            place: fresh.place(),
            part: "test",
            steps: STEPS,
        };
        let first = Writer::start(schema.clone(), 64).unwrap();
        let writers: Vec<Writer> = (0..WRITERS)
            .map(|n| match fresh.place().is_shared() && n > 0 {
                true => Writer::start(schema.clone(), 64).unwrap(),
                false => first.clone(),
            })
            .collect();
        let mut told = Vec::new();
        std::thread::scope(|scope| {
            for (n, writer) in writers.iter().enumerate() {
                scope.spawn(move || {
                    for version in 0..EACH {
                        let work = move |tx: &Connection| {
                            // Clocks of gateways differ: time must not matter.
                            let at = i64::try_from((WRITERS - n) * 1_000 + version).unwrap();
                            write(tx, "Task", &format!("w{n}"), version, at);
                            Ok(())
                        };
                        writer.write_blocking(work).unwrap();
                    }
                });
            }
            let mut feed = FEED;
            while told.len() < WRITERS * EACH {
                let query = feed.clone();
                let read = first
                    .readers()
                    .read(move |c| changes(c, &query, &Scope::Everything))
                    .unwrap();
                feed.after = Some(read.reached);
                told.extend(
                    read.page
                        .into_iter()
                        .map(|one| (one.seq, one.id, one.versioned.version)),
                );
            }
        });
        let numbers: Vec<u64> = told.iter().map(|(seq, _, _)| *seq).collect();
        let expected = u64::try_from(WRITERS * EACH).unwrap();
        assert_eq!(
            numbers,
            (1..=expected).collect::<Vec<_>>(),
            "no hole, no repeat"
        );
        let versions: BTreeSet<_> = told
            .into_iter()
            .map(|(_, id, version)| (id, version))
            .collect();
        assert_eq!(versions.len(), WRITERS * EACH);
    }
}

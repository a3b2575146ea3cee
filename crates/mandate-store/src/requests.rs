//! Requests that their senders may repeat: the log remembers them by the transactions that they made.

use std::collections::HashMap;

use redb::{ReadTransaction, ReadableTable, Table};

use crate::file::{Failure, LOG, REQUESTS};
use crate::marks::from_json;
use crate::transaction::{KeyedRequest, Transaction};

/// The caller and the key of a request.
pub type RequestName = (String, String);

/// Remembers the first transaction of a request.
pub fn remember(
    requests: &mut Table<'_, (&'static str, &'static str), u64>,
    caller: &str,
    request: &KeyedRequest,
    sequence: u64,
) -> Result<(), Failure> {
    let name = (caller, request.key.as_str());
    if requests.get(name)?.is_none() {
        requests.insert(name, sequence)?;
    }
    Ok(())
}

/// The transactions that a request of a caller made; none if the log has no request with this key.
pub fn transactions_of(read: &ReadTransaction, caller: &str, key: &str) -> Result<Vec<Transaction>, Failure> {
    let requests = match read.open_table(REQUESTS) {
        // A store that was made before there was this table.
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        requests => requests?,
    };
    let Some(first) = requests.get((caller, key))?.map(|first| first.value()) else { return Ok(Vec::new()) };
    let (log, mut found) = (read.open_table(LOG)?, Vec::new());
    for sequence in first.. {
        let Some(text) = log.get((sequence, 0))? else { break };
        let transaction: Transaction = from_json(text.value())?;
        let is_part = transaction.author.caller == caller
            && transaction.request.as_ref().is_some_and(|request| request.key == key);
        if !is_part {
            break;
        }
        found.push(transaction);
    }
    Ok(found)
}

/// All requests that are remembered, with their first transactions.
fn remembered(read: &ReadTransaction) -> Result<HashMap<RequestName, u64>, Failure> {
    let requests = match read.open_table(REQUESTS) {
        // A store that was made before there was this table.
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(HashMap::new()),
        requests => requests?,
    };
    let mut found = HashMap::new();
    for row in requests.range::<(&str, &str)>(..)? {
        let (name, first) = row?;
        let (caller, key) = name.value();
        found.insert((caller.to_owned(), key.to_owned()), first.value());
    }
    Ok(found)
}

/// The transactions whose requests are not remembered as they are in the log.
pub fn requests_that_differ(
    read: &ReadTransaction,
    logged: &HashMap<RequestName, u64>,
) -> Result<Vec<u64>, Failure> {
    let remembered = remembered(read)?;
    let names = logged.keys().chain(remembered.keys());
    let differ = names.filter(|name| logged.get(*name) != remembered.get(*name));
    let mut differ: Vec<u64> =
        differ.filter_map(|name| logged.get(name).or(remembered.get(name))).copied().collect();
    differ.sort_unstable();
    differ.dedup();
    Ok(differ)
}

//! What has been promised: how much of the account's concurrency is set aside for whom, and what cannot be set aside.
//!
//! It counts promises and never what runs: that is the pool's.

use std::fmt;

/// Names a function of promises or of a pool.
pub type FunctionId = usize;

/// What the account has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Most that may run at once, over all functions.
    pub concurrency: u32,
    /// So much of it cannot be set aside.
    pub unreserved_minimum: u32,
}

/// Why a setting is refused. The texts are AWS's where AWS has the same mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitsError {
    /// A reservation leaves less than the minimum unreserved.
    ReservedBelowMinimum {
        /// The account's `unreserved_minimum`.
        minimum: u32,
    },
    /// Provisioned concurrency leaves less than the minimum unreserved.
    ProvisionedBelowMinimum {
        /// The account's `unreserved_minimum`.
        minimum: u32,
    },
    /// Provisioned concurrency is more than there is.
    ProvisionedOverAccount {
        /// What nobody has set aside.
        unreserved: u64,
    },
    /// Provisioned concurrency is more than the function's reservation.
    ProvisionedOverReserved,
    /// A reservation is less than the function's provisioned concurrency.
    ReservedBelowProvisioned {
        /// What was asked for.
        reserved: u32,
        /// What the function has provisioned.
        provisioned: u64,
    },
    /// The account's concurrency does not hold what is set aside already.
    AccountTooSmall {
        /// What was asked for.
        account: Account,
        /// What is set aside.
        allocated: u64,
    },
}

impl fmt::Display for LimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedBelowMinimum { minimum } => write!(
                f,
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution \
                 below its minimum value of [{minimum}]."
            ),
            Self::ProvisionedBelowMinimum { minimum } => write!(
                f,
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its \
                 minimum value of [{minimum}]."
            ),
            Self::ProvisionedOverAccount { unreserved } => write!(
                f,
                "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{unreserved}]."
            ),
            Self::ProvisionedOverReserved => write!(
                f,
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
            ),
            Self::ReservedBelowProvisioned { reserved, provisioned } => write!(
                f,
                " ReservedConcurrentExecutions  {reserved} should not be lower than function's total provisioned \
                 concurrency [{provisioned}]."
            ),
            Self::AccountTooSmall { account, allocated } => write!(
                f,
                "concurrency={}, unreserved_minimum={}: functions have {allocated} reserved or provisioned; allowed are a \
                 concurrency from {} and a minimum up to {}",
                account.concurrency,
                account.unreserved_minimum,
                allocated + u64::from(account.unreserved_minimum),
                u64::from(account.concurrency).saturating_sub(*allocated),
            ),
        }
    }
}

impl std::error::Error for LimitsError {}

/// What one function has been promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    reserved: Option<u32>,
    /// Over all its versions.
    provisioned: u64,
}

impl Share {
    /// Provisioned concurrency is part of a reservation where there is one.
    fn allocated(self) -> u64 {
        self.reserved.map_or(self.provisioned, u64::from)
    }
}

/// The promises of an account.
#[derive(Clone, Debug)]
pub struct Promises {
    account: Account,
    shares: Vec<Share>,
    /// What is set aside over all functions.
    allocated: u64,
}

impl Promises {
    /// Nothing is promised yet.
    pub fn new(account: Account) -> Self {
        Self { account, shares: Vec::new(), allocated: 0 }
    }

    /// Add a function without promises.
    pub fn add(&mut self) -> FunctionId {
        self.shares.push(Share::default());
        self.shares.len() - 1
    }

    /// What the account has.
    pub fn account(&self) -> Account {
        self.account
    }

    /// The function's reservation.
    pub fn reserved(&self, function: FunctionId) -> Option<u32> {
        self.shares[function].reserved
    }

    /// Change what the account has.
    pub fn set_account(&mut self, account: Account) -> Result<(), LimitsError> {
        let room = u64::from(account.concurrency).saturating_sub(u64::from(account.unreserved_minimum));
        if self.allocated > room {
            return Err(LimitsError::AccountTooSmall { account, allocated: self.allocated });
        }
        self.account = account;
        Ok(())
    }

    /// Change what a function is promised: its reservation, and its provisioned concurrency over all versions. On an error
    /// nothing has changed.
    pub fn set(&mut self, function: FunctionId, reserved: Option<u32>, provisioned: u64) -> Result<(), LimitsError> {
        let (before, after) = (self.shares[function], Share { reserved, provisioned });
        if let Some(reserved) = reserved.filter(|&reserved| provisioned > u64::from(reserved)) {
            return Err(if before.provisioned == provisioned {
                LimitsError::ReservedBelowProvisioned { reserved, provisioned }
            } else {
                LimitsError::ProvisionedOverReserved
            });
        }
        let Account { concurrency, unreserved_minimum: minimum } = self.account;
        let others = self.allocated - before.allocated();
        let taken = others + after.allocated() + u64::from(minimum);
        if after.allocated() > before.allocated() && taken > u64::from(concurrency) {
            let unreserved = u64::from(concurrency).saturating_sub(others);
            return Err(match reserved {
                Some(_) => LimitsError::ReservedBelowMinimum { minimum },
                None if provisioned > unreserved => LimitsError::ProvisionedOverAccount { unreserved },
                None => LimitsError::ProvisionedBelowMinimum { minimum },
            });
        }
        self.allocated = others + after.allocated();
        self.shares[function] = after;
        Ok(())
    }
}

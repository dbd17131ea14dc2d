//! The users of a port, as far as they are counted in one place.

use super::{Claim, Sharing};

/// The claims on a port, by how they share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Claims {
    bindings: [u32; Sharing::COUNT],
    listeners: [u32; Sharing::COUNT],
}

impl Claims {
    pub(super) fn count(&mut self, claim: Claim) -> Option<&mut u32> {
        match claim {
            Claim::Binding(sharing) => self.bindings.get_mut(sharing.index()),
            Claim::Listener(sharing) => self.listeners.get_mut(sharing.index()),
        }
    }

    /// Whether one of them does not share with a newcomer, which is for IPv4 or not.
    pub(super) fn exclude(&self, new: Sharing, is_ipv4: bool) -> bool {
        let counted = Sharing::all().zip(self.bindings.iter().zip(&self.listeners));
        counted.filter(|(theirs, _)| !(theirs.only_v6 && is_ipv4)).any(|(theirs, (bindings, listeners))| {
            let both_ports = new.reuse_port && theirs.reuse_port;
            let both_addrs = new.reuse_addr && theirs.reuse_addr;
            (*listeners > 0 && !both_ports) || (*bindings > 0 && !both_ports && !both_addrs)
        })
    }
}

/// The users of a port.
#[derive(Clone, Debug, Default)]
pub(super) struct Users {
    pub(super) flows: u32,
    /// Most ports have none.
    claims: Option<Box<Claims>>,
}

impl Users {
    pub(super) fn claims(&self) -> Option<&Claims> {
        self.claims.as_deref()
    }

    pub(super) fn add(&mut self, claim: Claim) {
        if let Some(count) = self.claims.get_or_insert_default().count(claim) {
            *count += 1;
        }
    }

    pub(super) fn sub(&mut self, claim: Claim) {
        let Some(claims) = &mut self.claims else { return };
        if let Some(count) = claims.count(claim) {
            *count = count.saturating_sub(1);
        }
        if **claims == Claims::default() {
            self.claims = None;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flows == 0 && self.claims.is_none()
    }
}

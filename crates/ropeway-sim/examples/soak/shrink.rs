//! The smallest scenario that still fails.

use super::scenario::{App, ConfigPlan, FaultKind, LinkPlan, Scenario};

/// Leaves parts of a scenario out, as long as `fails` says that it still fails; until none can be left out.
pub fn shrink(mut scenario: Scenario, mut fails: impl FnMut(&Scenario) -> bool) -> Scenario {
    loop {
        // After a success, the same list of candidates is gone on with from the same place.
        let mut at = 0;
        let mut has_shrunk = false;
        while let Some(candidate) = candidates(&scenario).into_iter().nth(at) {
            if fails(&candidate) {
                scenario = candidate;
                has_shrunk = true;
            } else {
                at += 1;
            }
        }
        if !has_shrunk {
            return scenario;
        }
    }
}

/// All scenarios that are smaller by a step, those first that leave out most.
fn candidates(scenario: &Scenario) -> Vec<Scenario> {
    let mut found = Vec::new();
    let mut add = |change: &mut dyn FnMut(&mut Scenario)| {
        let mut smaller = scenario.clone();
        change(&mut smaller);
        if smaller != *scenario {
            found.push(smaller);
        }
    };
    let (connections, faults) = (scenario.connections.len(), scenario.faults.len());
    for half in [0..connections / 2, connections / 2..connections] {
        add(&mut |smaller| drop(smaller.connections.drain(half.clone())));
    }
    add(&mut |smaller| smaller.faults.clear());
    for at in 0..connections {
        add(&mut |smaller| {
            smaller.connections.remove(at);
        });
    }
    for at in 0..faults {
        add(&mut |smaller| {
            smaller.faults.remove(at);
        });
    }
    add(&mut |smaller| {
        smaller.trunks.clear();
        smaller.hosts.iter_mut().for_each(|host| host.router = 0);
    });
    for at in 0..scenario.trunks.len() {
        add(&mut |smaller| contract(smaller, at));
    }
    for host in &scenario.hosts {
        add(&mut |smaller| leave_out(smaller, host.number));
    }
    for at in 0..scenario.hosts.len() {
        add(&mut |smaller| smaller.hosts[at].config = ConfigPlan::default());
        shrink_link(&scenario.hosts[at].link, |link| {
            add(&mut |smaller| smaller.hosts[at].link = link.clone())
        });
    }
    for at in 0..scenario.trunks.len() {
        shrink_link(&scenario.trunks[at].link, |link| {
            add(&mut |smaller| smaller.trunks[at].link = link.clone())
        });
    }
    for at in 0..connections {
        for app in smaller_apps(&scenario.connections[at].app) {
            add(&mut |smaller| smaller.connections[at].app = app.clone());
        }
        add(&mut |smaller| smaller.connections[at].at_ms = 0);
        add(&mut |smaller| smaller.connections[at].at_ms /= 2);
        add(&mut |smaller| smaller.connections[at].ipv6 = false);
    }
    for at in 0..faults {
        add(&mut |smaller| smaller.faults[at].for_ms /= 2);
        if let FaultKind::LinkChange { host, link } = &scenario.faults[at].kind {
            shrink_link(link, |link| {
                add(&mut |smaller| {
                    smaller.faults[at].kind = FaultKind::LinkChange { host: *host, link: link.clone() };
                });
            });
        }
    }
    found
}

/// Makes the two routers at the ends of a trunk one.
fn contract(scenario: &mut Scenario, trunk: usize) {
    let [stays, goes] = scenario.trunks.remove(trunk).ends;
    let move_on = |router: &mut u32| {
        if *router == goes {
            *router = stays;
        }
    };
    scenario.hosts.iter_mut().for_each(|host| move_on(&mut host.router));
    scenario.trunks.iter_mut().for_each(|other| other.ends.iter_mut().for_each(move_on));
    scenario.trunks.retain(|other| other.ends[0] != other.ends[1]);
}

/// Leaves a host out, if nothing needs it.
fn leave_out(scenario: &mut Scenario, host: u32) {
    let is_used =
        scenario.connections.iter().any(|connection| [connection.from, connection.to].contains(&host));
    if is_used {
        return;
    }
    for fault in &mut scenario.faults {
        if let FaultKind::Partition { side } = &mut fault.kind {
            side.retain(|other| *other != host);
        }
    }
    scenario.faults.retain(|fault| !fault.kind.hosts().contains(&host));
    scenario.hosts.retain(|other| other.number != host);
}

/// Each way to make a link plainer by one setting, and the plainest.
fn shrink_link(link: &LinkPlan, mut add: impl FnMut(LinkPlan)) {
    let plain = LinkPlan { delay_us: 1000, ..LinkPlan::default() };
    let resets: [fn(&mut LinkPlan, &LinkPlan); 11] = [
        |link, plain| *link = plain.clone(),
        |link, plain| (link.kbit, link.queue, link.codel) = (plain.kbit, plain.queue, plain.codel),
        |link, _| link.codel = false,
        |link, _| link.jitter_us = 0,
        |link, _| (link.loss, link.burst) = (0, None),
        |link, _| link.reorder = 0,
        |link, _| link.duplicate = 0,
        |link, _| link.corrupt = 0,
        |link, _| link.mtu = None,
        |link, _| link.black_hole = None,
        |link, plain| link.delay_us = plain.delay_us,
    ];
    for at in 0..link.lost_packets.len() {
        let mut smaller = link.clone();
        smaller.lost_packets.remove(at);
        add(smaller);
    }
    for reset in resets {
        let mut smaller = link.clone();
        reset(&mut smaller, &plain);
        if smaller != *link {
            add(smaller);
        }
    }
}

fn smaller_apps(app: &App) -> Vec<App> {
    let mut found = Vec::new();
    // All numbers of the app, each in turn made nothing, half, or one less.
    for number in 0..4 {
        let lessen: [fn(u32) -> u32; 3] = [|_| 1, |value| value / 2, |value| value - value / 4];
        for less in lessen {
            let mut smaller = app.clone();
            let numbers: Vec<&mut u32> = match &mut smaller {
                App::Bulk { up, down } | App::HalfClose { up, down } => vec![up, down],
                App::Requests { count, up, down, pause_ms } => vec![count, up, down, pause_ms],
                App::Abort { after, down, .. } => vec![after, down],
                App::Idle { secs } => vec![secs],
                App::Slow { up, chunk, pause_ms } => vec![up, chunk, pause_ms],
                App::Short { count, up, down } => vec![count, up, down],
                App::Datagrams { count, len, pause_ms } => vec![count, len, pause_ms],
            };
            if let Some(value) = numbers.into_iter().nth(number).filter(|value| **value > 1) {
                *value = less(*value).max(1);
                found.push(smaller);
            }
        }
    }
    found.dedup();
    found
}

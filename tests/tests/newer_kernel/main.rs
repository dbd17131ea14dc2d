//! ropeway and Linux 7.2, which has Accurate ECN and queues that delay, lose and mark, as a program: user-mode Linux, which
//! `.ci/uml` fetches. The same bodies run against the kernel of this machine, as far as it can.
//!
//! `.ci/uml ecn` runs those with `ecn` in their name; without the kernel all of them are ignored.

#![cfg_attr(not(target_os = "linux"), allow(unused))]

#[cfg(target_os = "linux")]
mod agent;
#[cfg(target_os = "linux")]
mod ecn;
#[cfg(target_os = "linux")]
mod guest;
#[cfg(target_os = "linux")]
mod info;
#[cfg(target_os = "linux")]
mod paths;
#[cfg(target_os = "linux")]
mod peer;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if std::process::id() == 1 && arguments.next().is_some_and(|argument| argument == guest::ARGUMENT) {
        guest::run(std::path::Path::new(&arguments.next().unwrap_or_default()));
        return std::process::ExitCode::FAILURE;
    }
    cases::run()
}

#[cfg(target_os = "linux")]
mod cases {
    use std::path::PathBuf;
    use std::process::ExitCode;
    use std::time::Duration;

    use libtest_mimic::{Arguments, Trial};
    use ropeway_tests::link::Family;
    use ropeway_tests::namespace;
    use tokio::runtime::{Builder, Runtime};

    use crate::peer::{Kernel, Peer};
    use crate::{agent, ecn, guest, paths};

    /// How long a case may take before it fails; the longest takes a tenth of it where nothing else runs.
    const LIMIT: Duration = Duration::from_secs(180);

    /// Everything is in a network namespace of this thread and those that it starts; cases run one after the other, since they
    /// set what the other end does.
    pub(crate) fn run() -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads = Some(1);
        let folder = std::env::var_os("ROPEWAY_UML").map(PathBuf::from);
        let Some(folder) = folder.filter(|_| !arguments.list) else {
            let trials =
                [Kernel::Guest, Kernel::Machines].into_iter().flat_map(|kernel| trials(kernel, None));
            let trials = trials.map(|trial| trial.with_ignored_flag(true)).collect();
            return libtest_mimic::run(&arguments, trials).exit_code();
        };
        namespace::enter().expect("root's rights and /dev/net/tun");
        let (guest, orders) = runtime().block_on(guest::start(&folder));
        let newer = Peer { kernel: Kernel::Guest, orders };
        let machines = Peer { kernel: Kernel::Machines, orders: agent::beside() };
        let all = [newer, machines].into_iter().flat_map(|peer| trials(peer.kernel, Some(peer))).collect();
        let conclusion = libtest_mimic::run(&arguments, all);
        drop(guest);
        conclusion.exit_code()
    }

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    fn trials(kernel: Kernel, peer: Option<Peer>) -> Vec<Trial> {
        let mut all = Vec::new();
        for family in [Family::V4, Family::V6] {
            let version = if family == Family::V4 { "ipv4" } else { "ipv6" };
            let place = if kernel == Kernel::Guest { "newer" } else { "this" };
            macro_rules! case {
                ($room:ident::$case:ident) => {
                    all.push(Trial::test(
                        format!("{place}::{}::{}::{version}", stringify!($room), stringify!($case)),
                        move || {
                            let peer = peer.ok_or("without a peer")?;
                            runtime()
                                .block_on(async {
                                    peer.reset().await;
                                    tokio::time::timeout(LIMIT, $room::$case(peer, family)).await
                                })
                                .map_err(|_| "it takes too long".into())
                        },
                    ))
                };
            }
            case!(ecn::each_mode_agrees_with_each);
            case!(ecn::marks_are_echoed_until_they_are_answered);
            case!(ecn::boxes_that_meddle_cost_nothing);
            if kernel == Kernel::Guest {
                case!(ecn::marks_on_what_the_kernel_sends_are_counted_alike);
                case!(ecn::marks_on_what_we_send_are_counted_alike);
                case!(ecn::marks_are_told_of_with_fewer_options);
                case!(paths::bytes_arrive_over_delay_loss_and_reordering);
                case!(paths::dctcp_goes_by_the_marks_of_a_queue);
                if family == Family::V4 {
                    case!(paths::figures);
                    let by_hand = all.pop().map(|trial: Trial| trial.with_ignored_flag(true));
                    all.extend(by_hand);
                }
            }
        }
        all
    }
}

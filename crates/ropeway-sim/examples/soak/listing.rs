//! A scenario as a test that one could write.

use std::fmt;

use super::scenario::{App, ConfigPlan, Connection, Fault, FaultKind, LinkPlan, Scenario};

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "let net = Net::builder().seed({}).build();", self.seed)?;
        for router in self.routers() {
            writeln!(f, "let r{router} = net.router(\"r{router}\");")?;
        }
        for trunk in &self.trunks {
            writeln!(f, "net.link(&r{}, &r{}, {});", trunk.ends[0], trunk.ends[1], trunk.link)?;
        }
        for host in &self.hosts {
            let number = host.number;
            write!(f, "let h{number} = net.add_host(\"h{number}\").link(&r{}, {})", host.router, host.link)?;
            writeln!(f, "{}.build();", host.config)?;
        }
        for fault in &self.faults {
            writeln!(f, "{fault}")?;
        }
        for connection in &self.connections {
            writeln!(f, "{connection}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return Ok(());
        }
        write!(f, ".config(|c| {{")?;
        if let Some(buffer) = self.buffer {
            write!(f, " c.socket.recv_buffer = {buffer}; c.socket.send_buffer = {buffer};")?;
        }
        if let Some(probing) = self.probing {
            write!(f, " c.mtu_probing = MtuProbing::from_number({probing}).unwrap();")?;
        }
        let switches = [
            (self.fast_open, "c.socket.fast_open = 8;"),
            (self.no_timestamps, "c.timestamps = false;"),
            (self.no_window_scaling, "c.window_scaling = false;"),
            (self.nodelay, "c.socket.nodelay = true;"),
            (self.always_cookies, "c.syn_cookies = SynCookieMode::Always;"),
        ];
        for (_, text) in switches.iter().filter(|(is_on, _)| *is_on) {
            write!(f, " {text}")?;
        }
        write!(f, " }})")
    }
}

impl fmt::Display for LinkPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link::new()")?;
        if let Some(kbit) = self.kbit {
            write!(f, ".rate(Rate::kbit({kbit}))")?;
        }
        if self.delay_us > 0 {
            write!(f, ".delay(us({}))", self.delay_us)?;
        }
        if self.jitter_us > 0 {
            write!(f, ".jitter(us({}))", self.jitter_us)?;
        }
        let thousandth = |number: u32| format!("0.{number:03}");
        match self.burst {
            _ if !self.lost_packets.is_empty() => {
                write!(f, ".loss(Loss::Packets(vec!{:?}))", self.lost_packets)?
            }
            Some(length) if self.loss > 0 => {
                write!(f, ".loss(Loss::burst({}, {length}.0))", thousandth(self.loss))?;
            }
            None if self.loss > 0 => write!(f, ".loss({})", thousandth(self.loss))?,
            _ => {}
        }
        for (name, value) in
            [("reorder", self.reorder), ("duplicate", self.duplicate), ("corrupt", self.corrupt)]
        {
            if value > 0 {
                write!(f, ".{name}({})", thousandth(value))?;
            }
        }
        if let Some(mtu) = self.mtu {
            write!(f, ".mtu({mtu})")?;
        }
        if let Some(takes) = self.black_hole {
            write!(f, ".black_hole({takes})")?;
        }
        match (self.queue.unwrap_or(1000), self.codel) {
            (1000, false) => {}
            (queue, false) => write!(f, ".queue(Queue::packets({queue}))")?,
            (queue, true) => write!(f, ".queue(Queue::packets({queue}).codel(CoDel::default()))")?,
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at(ms({})).for_time(ms({})).", self.at_ms, self.for_ms)?;
        match &self.kind {
            FaultKind::LinkDown { host } => write!(f, "link_down(&h{host});"),
            FaultKind::LinkChange { host, link } => write!(f, "change_link(&h{host}, {link});"),
            FaultKind::Partition { side } => {
                let side: Vec<String> = side.iter().map(|host| format!("&h{host}")).collect();
                write!(f, "partition([{}], the_others);", side.join(", "))
            }
            FaultKind::Cut { from, to } => write!(f, "cut(&h{from}, &h{to});"),
            FaultKind::Crash { host } => write!(f, "crash(&h{host});"),
            FaultKind::Freeze { host } => write!(f, "freeze(&h{host});"),
            FaultKind::ClockSpeed { host, speed } => {
                write!(f, "set_clock_speed(&h{host}, {}.{:03});", speed / 1000, speed % 1000)
            }
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, from, to, at_ms, ipv6, .. } = self;
        let family = if *ipv6 { "ipv6" } else { "ipv4" };
        write!(f, "at(ms({at_ms})).connect_{family}(&h{from}, &h{to}).number({number}).")?;
        match self.app {
            App::Bulk { up, down } => write!(f, "bulk({up}, {down});"),
            App::HalfClose { up, down } => write!(f, "half_close({up}, {down});"),
            App::Requests { count, up, down, pause_ms } => {
                write!(f, "requests({count}, {up}, {down}).pause(ms({pause_ms}));")
            }
            App::Abort { by_client, after, down } => {
                let who = if by_client { "client" } else { "server" };
                write!(f, "abort_by_{who}(after({after}), while_sent({down}));")
            }
            App::Idle { secs } => write!(f, "idle(secs({secs}));"),
            App::Slow { up, chunk, pause_ms } => {
                write!(f, "slow_reader({up}, {chunk}).pause(ms({pause_ms}));")
            }
            App::Short { count, up, down } => write!(f, "short({count}, {up}, {down});"),
            App::Datagrams { count, len, pause_ms } => {
                write!(f, "datagrams({count}, {len}).pause(ms({pause_ms}));")
            }
        }
    }
}

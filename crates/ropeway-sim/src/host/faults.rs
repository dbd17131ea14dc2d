//! What befalls hosts: crashes, freezes, wrong clocks.

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use super::{BootTask, Host};
use crate::tasks::error_of;
use crate::world::Service;

impl Host {
    /// Crashes the host: as when its power fails. Its connections, listeners and futures are gone; no FIN and no RST
    /// leaves it. Others find out by their own timeouts, or by a RST once it runs again.
    ///
    /// Futures that [`run`](Self::run) and [`spawn`](Self::spawn) have started are dropped. Tasks that they spawned by
    /// `tokio::spawn` cannot be: their sockets answer [`NetworkDown`](io::ErrorKind::NetworkDown) from now on.
    /// Nothing happens to a host that is down.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> std::io::Result<()> {
    /// use ropeway::net::{TcpListener, TcpStream};
    /// use ropeway_sim::Net;
    /// use std::time::Duration;
    ///
    /// let net = Net::new();
    /// let [a, b] = net.add_hosts(["a", "b"]);
    /// let _listener = b.run(TcpListener::bind("0.0.0.0:80")).await?;
    /// let stream = a.run(TcpStream::connect("b:80")).await?;
    /// b.crash();
    /// // Nobody has told `a`, which sends nothing: the connection stays.
    /// tokio::time::sleep(Duration::from_secs(3600)).await;
    /// assert_eq!(stream.info()?.state, ropeway::State::Established);
    /// # Ok(())
    /// # }
    /// ```
    pub fn crash(&self) {
        let life = {
            let mut world = self.handle.shared.world();
            world.log(format!("{} crashes", self.name));
            world.host_mut(self.id).and_then(|host| {
                host.is_frozen = false;
                host.clock.set_stands(false);
                host.life.take()
            })
        };
        // Its sockets and futures come back here when they are dropped, so not under the lock.
        if let Some(life) = life {
            life.manual.fail(io::Error::other("the host crashed"));
            life.token.end();
        }
        self.handle.shared.set_active();
    }

    /// Starts the host after a crash, with the same addresses, and what [`on_boot`](Self::on_boot) said to run. It
    /// knows nothing of its earlier life: connections of then are answered with a RST. A host that is up crashes
    /// first.
    pub fn restart(&self) {
        if self.is_up() {
            self.crash();
        }
        let booted = {
            let mut world = self.handle.shared.world();
            world.log(format!("{} starts again", self.name));
            world.boot(self.id)
        };
        #[expect(clippy::panic, reason = "the same stack was made before")]
        booted.unwrap_or_else(|error| panic!("the host {:?}: {error}", self.name));
        self.handle.shared.wake_engine();
        let services =
            self.handle.shared.world().host_mut(self.id).map(|host| std::mem::take(&mut host.services));
        let mut services = services.unwrap_or_default();
        for service in &mut services {
            self.start(service);
        }
        if let Some(host) = self.handle.shared.world().host_mut(self.id) {
            services.append(&mut host.services);
            host.services = services;
        }
    }

    /// Runs what `service` makes as a task on this host: now, and whenever the host starts again.
    ///
    /// # Examples
    ///
    /// ```
    /// use ropeway::net::{TcpListener, TcpStream};
    /// use ropeway_sim::Net;
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> std::io::Result<()> {
    /// let net = Net::new();
    /// let db = net.add_host("db").build();
    /// db.on_boot(|| async {
    ///     let listener = TcpListener::bind("0.0.0.0:5432").await?;
    ///     let mut open = Vec::new();
    ///     loop {
    ///         open.push(listener.accept().await?);
    ///     }
    ///     # #[allow(unreachable_code)]
    ///     Ok::<(), std::io::Error>(())
    /// });
    /// net.add_host("web").build().run(async {
    ///     let mut stream = TcpStream::connect("db:5432").await?;
    ///     db.restart();
    ///     stream.write_all(b"select 1").await?;
    ///     let error = stream.read(&mut [0]).await.unwrap_err();
    ///     assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    ///     TcpStream::connect("db:5432").await // it runs again
    /// }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A service that fails, by a panic or because its output is an `Err`, is told of on stderr and in the
    /// [log](crate::Net::log), and fails the test when the network ends, unless that is [tolerated](BootTask::tolerate).
    ///
    /// # Panics
    ///
    /// If the host is down.
    #[track_caller]
    pub fn on_boot<S, F>(&self, mut service: S) -> BootTask
    where
        S: FnMut() -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: fmt::Debug + 'static,
    {
        let is_tolerated = Arc::new(AtomicBool::new(false));
        let mut service = Service::new(Location::caller(), Arc::clone(&is_tolerated), move || {
            let running = service();
            Box::pin(async move { error_of(&running.await) })
        });
        self.start(&mut service);
        if let Some(host) = self.handle.shared.world().host_mut(self.id) {
            host.services.push(service);
        }
        BootTask { is_tolerated }
    }

    fn start(&self, service: &mut Service) {
        let job = service.job();
        tokio::spawn(self.scope("on_boot", &job, Clone::clone, service.start()));
    }

    /// Whether the host runs: it has not crashed, or has been started again. A frozen host counts as running.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.handle.shared.world().life_mut(self.id).is_some()
    }

    /// Freezes the host: as when a virtual machine is suspended. Its clock stands, its futures are not polled, and
    /// what arrives waits: up to 1000 packets, as in the queue of a Linux TAP device; more are dropped.
    ///
    /// Tasks that were spawned on it by plain `tokio::spawn` still run, with sockets that neither send nor receive;
    /// those spawned by [`ropeway_sim::spawn`](crate::spawn) stand. Nothing happens to a host that is down.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use tokio::time::{Instant, sleep};
    ///
    /// let host = ropeway_sim::Net::new().add_host("a").build();
    /// let start = Instant::now();
    /// let task = host.spawn(async { sleep(Duration::from_secs(1)).await });
    /// tokio::task::yield_now().await;
    /// host.freeze();
    /// sleep(Duration::from_secs(60)).await;
    /// host.thaw();
    /// task.await.unwrap();
    /// assert_eq!(start.elapsed(), Duration::from_secs(60));
    /// # }
    /// ```
    pub fn freeze(&self) {
        self.set_frozen(true);
    }

    /// Lets a frozen host go on. Its clock goes on from where it stood.
    pub fn thaw(&self) {
        self.set_frozen(false);
    }

    fn set_frozen(&self, frozen: bool) {
        let token = {
            let mut world = self.handle.shared.world();
            let Some(host) = world.host_mut(self.id).filter(|host| host.is_frozen != frozen) else { return };
            let Some(life) = &host.life else { return };
            let token = Arc::clone(&life.token);
            host.is_frozen = frozen;
            host.clock.set_stands(frozen);
            world.log(format!("{} {}", self.name, if frozen { "freezes" } else { "thaws" }));
            world.mark_pending(self.id);
            token
        };
        token.set_frozen(frozen);
        self.handle.shared.wake_engine();
    }

    /// Lets the host's clock run at another speed from now on: 1.0 is right, 1.0001 gains 100 µs in a second. The
    /// stack's timers follow it. Tokio's own do not, since that clock is everybody's.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    ///
    /// let host = ropeway_sim::Net::new().add_host("a").build();
    /// let start = host.wall_clock();
    /// host.set_clock_speed(1.0001);
    /// tokio::time::sleep(Duration::from_secs(100)).await;
    /// assert_eq!(host.wall_clock().duration_since(start).unwrap(), Duration::from_millis(100_010));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the speed is not from a millionth to a million. [`freeze`](Self::freeze) is for clocks that stand.
    #[track_caller]
    pub fn set_clock_speed(&self, speed: f64) {
        let is_possible = (1e-6..=1e6).contains(&speed);
        assert!(is_possible, "a clock runs at a speed from a millionth to a million, and cannot at {speed}");
        self.change_clock(format!("runs at the speed {speed}"), |host| host.clock.set_speed(speed));
    }

    /// Sets the host's wall clock ahead of the right time, or behind it if `is_behind`. Only
    /// [`wall_clock`](Self::wall_clock) shows it: a TCP does not look at wall clocks.
    pub fn set_clock_offset(&self, offset: Duration, is_behind: bool) {
        let micros = i64::try_from(offset.as_micros()).unwrap_or(i64::MAX);
        let micros = if is_behind { -micros } else { micros };
        self.change_clock(format!("is {micros} us ahead"), |host| host.clock.set_offset(micros));
    }

    /// The host's wall clock. All simulations begin at 2000-01-01 00:00 UTC.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    /// let net = ropeway_sim::Net::new();
    /// let [a, b] = net.add_hosts(["a", "b"]);
    /// b.set_clock_offset(Duration::from_secs(5), true);
    /// assert_eq!(a.wall_clock().duration_since(b.wall_clock()).unwrap(), Duration::from_secs(5));
    /// # }
    /// ```
    #[must_use]
    pub fn wall_clock(&self) -> SystemTime {
        let mut world = self.handle.shared.world();
        let clock = world.host_mut(self.id).map(|host| Arc::clone(&host.clock));
        drop(world);
        clock.map_or(SystemTime::UNIX_EPOCH, |clock| clock.wall())
    }

    fn change_clock(&self, what: String, change: impl FnOnce(&mut crate::world::HostNode)) {
        let mut world = self.handle.shared.world();
        if let Some(host) = world.host_mut(self.id) {
            change(host);
        }
        world.log(format!("the clock of {} {what}", self.name));
        // Its deadlines come at other moments now.
        world.mark_pending(self.id);
        drop(world);
        self.handle.shared.wake_engine();
    }
}

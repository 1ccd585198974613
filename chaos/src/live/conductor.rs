//! Leads one run through its phases: sign-in, calm, faults, healing, convergence; then has it judged.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use lyncpin::lab::pbx::{Reply, Request};
use tokio::sync::{mpsc, oneshot};

use super::balancer::Make;
use super::inject::Injection;
use super::notes::{Notes, seal};
use super::plan::{Plan, Profile, SCENARIOS, Step, scenario};
use super::population::Population;
use super::site::{Site, SiteOptions};
use super::stalls::Stalls;
use super::watch::Watch;
use super::workload::{Shares, Workload};
use super::{LiveError, outside};
use crate::fault::Kind;
use crate::history::{OPERATOR, Phase, Run, What};
use crate::seed::Chance;
use crate::verdict::{Verdict, judge};

const TICK: Duration = Duration::from_millis(10);
const AGREE_WITHIN: Duration = Duration::from_secs(20);
const ACCOUNT_EVERY_US: u64 = 100_000;

/// Break a pair on this machine while users call, and say what they saw.
///
/// Exit status: 0 green, 1 red, 2 the run could not be made, 3 it did too little to prove anything.
#[derive(Args, Clone, Debug)]
pub struct Live {
    /// What is done; `--list` names them.
    #[arg(long, default_value = "kill")]
    pub scenario: String,
    /// Several scenarios in a row instead.
    #[arg(long, value_enum)]
    pub profile: Option<Profile>,
    /// Name the scenarios.
    #[arg(long)]
    pub list: bool,
    /// Equal seeds make equal plans [default: from the clock].
    #[arg(long)]
    pub seed: Option<u64>,
    /// How long things are broken.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(4..=86_400))]
    pub faults_s: u64,
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..=2_000))]
    pub users: u32,
    /// How long users work before anything is broken.
    #[arg(long, default_value_t = 3, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub calm_s: u64,
    /// Goals of recovery are multiplied by this [default: 4 for an optimised build, 8 otherwise].
    #[arg(long)]
    pub slack: Option<u64>,
    #[arg(long, value_enum, default_value_t = Make::Auto)]
    pub balancer: Make,
    /// Where histories, verdicts, reports and logs go.
    #[arg(long, value_name = "FOLDER", default_value = "chaos-runs")]
    pub dir: PathBuf,
    /// The product's program [default: beside this one].
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
    /// Processes on loopback, without a network and disks of their own, as it is without root.
    #[arg(long)]
    pub loopback: bool,
    /// No line of progress.
    #[arg(long)]
    pub quiet: bool,
    /// In namespaces of our own already.
    #[arg(long, hide = true)]
    pub inside: bool,
}

pub fn run(live: &Live) -> ExitCode {
    if live.list {
        SCENARIOS.iter().for_each(|scenario| println!("{:<14}{}", scenario.name, scenario.about));
        return ExitCode::SUCCESS;
    }
    let seed = live.seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_micros() as u64 % 1_000_000)
    });
    let names: Vec<&str> = match live.profile {
        Some(profile) => profile.scenarios().iter().map(|scenario| scenario.name).collect(),
        None => vec![live.scenario.as_str()],
    };
    let mut codes = Vec::new();
    for (n, name) in names.iter().enumerate() {
        if names.len() > 1 {
            println!("== {name} ({} of {})", n + 1, names.len());
        }
        let began = Instant::now();
        let code = match Site::can_have_a_world() && !live.inside && !live.loopback {
            true => in_a_world(live, name, seed),
            false => one(live, name, seed),
        };
        codes.push((name, code, began.elapsed()));
    }
    if names.len() > 1 {
        println!("\n== {} scenarios, seed {seed}", names.len());
        for (name, code, took) in &codes {
            let word = ["green", "RED", "not made", "invalid"].get(usize::from(*code)).copied().unwrap_or("not made");
            println!("{name:<14}{word:<10}{:>4} s", took.as_secs());
        }
    }
    // A breach is worse than a run that proves nothing.
    let worst = [1, 2, 3].into_iter().find(|worst| codes.iter().any(|(_, code, _)| code == worst));
    ExitCode::from(worst.unwrap_or(0))
}

/// A child in namespaces that vanish with it.
fn in_a_world(live: &Live, name: &str, seed: u64) -> u8 {
    let mut arguments: Vec<OsString> = vec!["live".into(), "--inside".into(), "--scenario".into(), name.into()];
    let mut option = |key: &str, value: OsString| arguments.extend([key.into(), value]);
    option("--seed", seed.to_string().into());
    option("--faults-s", live.faults_s.to_string().into());
    option("--calm-s", live.calm_s.to_string().into());
    option("--users", live.users.to_string().into());
    option("--dir", live.dir.clone().into());
    let make = match live.balancer {
        Make::Auto => "auto",
        Make::Haproxy => "haproxy",
        Make::BuiltIn => "built-in",
    };
    option("--balancer", make.into());
    if let Some(slack) = live.slack {
        option("--slack", slack.to_string().into());
    }
    if let Some(program) = &live.program {
        option("--program", program.clone().into());
    }
    if live.quiet {
        arguments.push("--quiet".into());
    }
    outside::in_a_world(&arguments)
}

fn one(live: &Live, name: &str, seed: u64) -> u8 {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("chaos: {error}");
            return 2;
        }
    };
    match runtime.block_on(Conductor::lead(live, name, seed)) {
        Ok(verdict) => verdict.exit_code(),
        Err(error) => {
            eprintln!("chaos: {name}: {error}");
            2
        }
    }
}

struct Conductor {
    site: Site,
    watch: Watch,
    under_way: Vec<Injection>,
    steps: Vec<Step>,
    faults: u32,
    chance: Chance,
    account_us: u64,
    told_us: u64,
    is_quiet: bool,
    desk: mpsc::Receiver<(Request, oneshot::Sender<Reply>)>,
}

impl Conductor {
    async fn lead(live: &Live, name: &str, seed: u64) -> Result<Verdict, LiveError> {
        let scenario = scenario(name).ok_or_else(|| LiveError::NoScenario(name.to_owned()))?;
        let plan = Plan::draw(scenario, seed, live.faults_s * 1000);
        let folder = live.dir.join(format!("{name}-{seed}"));
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        let folder = folder.canonicalize()?;
        let notes = Notes::new();
        let program = Site::program(live.program.as_deref())?;
        let has_world = live.inside;
        let options = SiteOptions {
            folder: folder.clone(),
            program,
            users: live.users as usize,
            seed,
            balancer: live.balancer,
            has_network: has_world,
            has_disks: has_world && outside::has("mkfs.xfs"),
            needs_shim: plan.has(&[Kind::DiskSlow, Kind::FsyncLies]),
            needs_clock: plan.has(&[Kind::ClockJump, Kind::ClockRate]),
        };
        let site = Site::start(options, notes.clone()).await?;
        let (desk, at_desk) = mpsc::channel(64);
        let mut conductor = Self {
            site,
            watch: Watch::default(),
            under_way: Vec::new(),
            steps: plan.steps.clone(),
            faults: 0,
            chance: Chance::new(seed ^ 0xfa17),
            account_us: 0,
            told_us: 0,
            is_quiet: live.quiet,
            desk: at_desk,
        };
        let front = conductor.site.front();
        let population =
            Population::new(live.users as usize, conductor.site.balancer.address, front, notes.clone()).await?;
        let shares = Shares::of(live.users as usize);
        let mut workload = Workload::new(&population, shares, notes.clone(), desk);
        let slack = live.slack.unwrap_or(if cfg!(debug_assertions) { 8 } else { 4 });
        let run = Run {
            seed,
            scenario: name.to_owned(),
            replay: format!(
                "chaos live --scenario {name} --seed {seed} --faults-s {} --calm-s {} --users {} --slack {slack}{}",
                live.faults_s,
                live.calm_s,
                live.users,
                if live.loopback { " --loopback" } else { "" }
            ),
            options: options_of(&plan, conductor.site.balancer.name(), has_world),
            probers: workload.probers(),
            slack,
            ..Run::default()
        };
        let calm = Duration::from_secs(live.calm_s);
        let stalls = Stalls::watch(notes.clone())?;
        let result = conductor.phases(&plan, calm, &population, &mut workload).await;
        drop(stalls);
        conductor.site.read_account().await;
        notes.phase(Phase::Over);
        let mut run = run;
        run.lost = conductor.site.account.lost;
        let history = seal(&notes, run);
        history.save(&mut std::io::BufWriter::new(std::fs::File::create(folder.join("history.jsonl"))?))?;
        result?;
        let verdict = judge(&history);
        std::fs::write(folder.join("report.html"), crate::report::html(&history, &verdict))?;
        let text = serde_json::to_string_pretty(&verdict).map_err(std::io::Error::from)?;
        std::fs::write(folder.join("verdict.json"), text)?;
        println!("{verdict}\n  report: {}", folder.join("report.html").display());
        Ok(verdict)
    }

    async fn phases(
        &mut self,
        plan: &Plan,
        calm: Duration,
        population: &Population,
        workload: &mut Workload,
    ) -> Result<(), LiveError> {
        let notes = self.site.notes.clone();
        notes.phase(Phase::SignIn);
        self.during("sign-in", population.sign_in()).await??;
        self.during("first calls", workload.start(plan.steps.len() as u64)).await?;
        notes.phase(Phase::Calm);
        self.during("calm", tokio::time::sleep(calm)).await?;
        notes.phase(Phase::Faults);
        let begun_us = notes.now_us();
        let text = format!("faults of {} s", plan.length_ms / 1000);
        while notes.now_us() < begun_us + plan.length_ms * 1000 {
            self.tick(&text, Some(begun_us)).await?;
        }
        for mut injection in std::mem::take(&mut self.under_way) {
            injection.heal(&mut self.site).await?;
            self.watch.healed(injection.fault);
        }
        notes.phase(Phase::Healing);
        self.end_calls(workload, population).await?;
        self.until_agreed(population).await?;
        self.until_both_serve().await?;
        notes.phase(Phase::Convergence);
        self.during("all must work", workload.prove()).await?;
        self.until_agreed(population).await?;
        self.until_both_serve().await
    }

    /// Goes on with everything else until something is done.
    async fn during<T>(&mut self, text: &str, work: impl Future<Output = T>) -> Result<T, LiveError> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                ticked = self.tick(text, None) => ticked?,
            }
        }
    }

    async fn tick(&mut self, text: &str, faults_begun_us: Option<u64>) -> Result<(), LiveError> {
        let until = tokio::time::sleep(TICK);
        tokio::pin!(until);
        loop {
            tokio::select! {
                biased;
                asked = self.desk.recv() => {
                    let Some((request, answer)) = asked else { until.as_mut().await; break };
                    // Err: whoever asked has gone.
                    let _ = answer.send(self.site.pbx.control(request).await);
                }
                () = &mut until => break,
            }
        }
        let now_us = self.site.notes.now_us();
        self.site.restart_the_ended()?;
        self.watch.look(&self.site);
        if now_us - self.account_us >= ACCOUNT_EVERY_US {
            self.account_us = now_us;
            self.site.read_account().await;
        }
        if let Some(begun_us) = faults_begun_us {
            self.strike(now_us, begun_us).await?;
        }
        for injection in &mut self.under_way {
            injection.tend(&mut self.site).await?;
        }
        self.tell(text, now_us);
        Ok(())
    }

    async fn strike(&mut self, now_us: u64, begun_us: u64) -> Result<(), LiveError> {
        let (over, on): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.under_way).into_iter().partition(|injection| injection.ends_us <= now_us);
        self.under_way = on;
        for mut injection in over {
            injection.heal(&mut self.site).await?;
            self.watch.healed(injection.fault);
        }
        while self.steps.first().is_some_and(|step| begun_us + step.at_ms * 1000 <= now_us) {
            let step = self.steps.remove(0);
            self.faults += 1;
            let which = (self.faults, step.kind);
            let ends_us = now_us + step.lasts_ms * 1000;
            let injection = Injection::begin(&mut self.site, which, step.target, ends_us, &mut self.chance).await?;
            self.watch.expect(&self.site, injection.fault, injection.kind, &injection.nodes);
            self.under_way.push(injection);
        }
        Ok(())
    }

    /// Nobody begins anything new. Views are compared all the while: somebody may wait long for what never comes.
    async fn end_calls(&mut self, workload: &mut Workload, population: &Population) -> Result<(), LiveError> {
        let ending = workload.stop();
        tokio::pin!(ending);
        loop {
            tokio::select! {
                biased;
                () = &mut ending => return Ok(()),
                ticked = self.tick("the last calls end", None) => ticked?,
            }
            self.compare(population).await;
        }
    }

    /// One look at all views; whether all agree with the PBX.
    async fn compare(&mut self, population: &Population) -> bool {
        let truth = self.site.truth().await;
        let differ = population.differences(&truth);
        let is_agreed = differ.is_empty();
        self.site.notes.add(What::Compared { users: population.users.len(), differ });
        is_agreed
    }

    /// Compares all views with the PBX until they are equal; writes down each look.
    async fn until_agreed(&mut self, population: &Population) -> Result<(), LiveError> {
        let deadline = Instant::now() + AGREE_WITHIN;
        loop {
            let is_agreed = self.compare(population).await;
            if is_agreed || Instant::now() > deadline {
                return Ok(());
            }
            self.during("views are compared", tokio::time::sleep(Duration::from_millis(50))).await?;
        }
    }

    async fn until_both_serve(&mut self) -> Result<(), LiveError> {
        let deadline = Instant::now() + AGREE_WITHIN;
        while !(self.watch.serves(1) && self.watch.serves(2)) && Instant::now() < deadline {
            self.tick("both nodes must serve", None).await?;
        }
        Ok(())
    }

    /// What is being done, how far, what was found so far.
    fn tell(&mut self, text: &str, now_us: u64) {
        let is_terminal = std::io::stderr().is_terminal();
        let every_us = if is_terminal { 200_000 } else { 2_000_000 };
        if self.is_quiet || now_us - self.told_us < every_us {
            return;
        }
        self.told_us = now_us;
        let notes = &self.site.notes;
        let faults: Vec<&str> = self.under_way.iter().map(|injection| injection.kind.text()).collect();
        let line = format!(
            "{:>6.1} s  {text}: {} ok, {} refused, {} unknown, {} events, {} rules broken; nodes {}{}; {}",
            now_us as f64 / 1e6,
            notes.count("ok"),
            notes.count("refused"),
            notes.count("unknown"),
            notes.count("events"),
            notes.count("broken rules"),
            if self.watch.serves(1) { "1" } else { "-" },
            if self.watch.serves(2) { "2" } else { "-" },
            if faults.is_empty() { "nothing is broken".to_owned() } else { faults.join(", ") },
        );
        match is_terminal {
            true => eprint!("\r{line:<150}"),
            false => eprintln!("{line}"),
        }
        // Err: nobody reads it.
        let _ = std::io::stderr().flush();
    }
}

fn options_of(plan: &Plan, balancer: &str, has_world: bool) -> BTreeMap<String, String> {
    let mut options: BTreeMap<String, String> = plan
        .steps
        .iter()
        .enumerate()
        .map(|(n, step)| {
            let what = format!("{:?} {:?} at {} ms for {} ms", step.kind, step.target, step.at_ms, step.lasts_ms);
            (format!("fault {}", n + 1), what)
        })
        .collect();
    options.insert("balancer".to_owned(), balancer.to_owned());
    if has_world {
        options.insert(OPERATOR.to_owned(), "metrics and API of both nodes".to_owned());
    }
    options.insert("network".to_owned(), if has_world { "namespaces" } else { "loopback" }.to_owned());
    options
}

//! A cluster that does what it may: jobs in any order, late and doubled reports, jobs that come back, vanish or are taken
//! back. A run on it must end, and end in what a run on this machine ends in.
#![allow(clippy::unwrap_used, reason = "tests")]

mod engine_kit;

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use engine_kit::*;
use s2pipe::engine::*;
use s2pipe::spec::Stage;
use serde_json::json;

/// How likely things go wrong, in parts of 100.
#[derive(Clone, Copy, Default)]
struct Weather {
    /// A job comes back without having run.
    returned: u64,
    /// A job is said to be taken back, though nobody asked for it.
    withdrawn: u64,
    /// A task fails.
    failed: u64,
    /// A report comes twice.
    doubled: u64,
    /// A report is kept back until others have been heard.
    late: u64,
    /// Somebody removes a result from the cache.
    removed: u64,
}

/// A job that waits for its turn.
struct Queued {
    errand: Errand,
    after: Vec<Ticket>,
}

#[derive(Default)]
struct Inside {
    random: u64,
    queue: Vec<Queued>,
    /// What ended well, as far as jobs that wait are concerned.
    done: HashSet<Ticket>,
    /// What did not.
    lost: HashSet<Ticket>,
    news: Vec<(Ticket, News)>,
    late: Vec<(Ticket, News)>,
    /// Everything that was ever handed over, in order.
    submitted: Vec<Ticket>,
    interrupted: bool,
}

/// A cluster that runs its jobs when it is listened to.
struct Fickle {
    cache: Cache,
    registry: Registry,
    weather: Weather,
    /// Tickets that are said to be on their way from an earlier run.
    earlier: HashSet<Ticket>,
    inside: Mutex<Inside>,
}

struct Deaf;
impl ProgressSink for Deaf {
    fn progress(&self, _news: Progress) {}
}
impl TaskWatch for Deaf {}

impl Fickle {
    fn new(p: &Project, weather: Weather, seed: u64) -> Self {
        let inside = Mutex::new(Inside { random: seed, ..Inside::default() });
        Self { cache: p.cache(), registry: registry(p.root()), weather, earlier: HashSet::new(), inside }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    fn remove_a_result(&self, inside: &mut Inside) {
        let mut results = Vec::new();
        list(&self.cache.root().join(".s2pipe/actions"), &mut results);
        results.sort();
        if !results.is_empty() {
            fs::remove_file(&results[inside.below(results.len() as u64) as usize]).unwrap();
        }
    }

    fn submitted(&self) -> usize {
        self.inside().submitted.len()
    }

    fn run(&self, errand: &Errand, inside: &mut Inside) {
        let ticket = errand.ticket;
        if inside.happens(self.weather.returned) {
            return inside.tell(ticket, News::Returned, self.weather);
        }
        if inside.happens(self.weather.failed) {
            inside.lost.insert(ticket);
            let error = TaskError::Failed { message: "the node burnt down".into(), help: None };
            return inside.tell(ticket, News::Failed { error, log: None }, self.weather);
        }
        if inside.happens(self.weather.removed) {
            self.remove_a_result(inside);
        }
        inside.news.push((ticket, News::Queued { job: "7_0".into() }));
        let (cancel, logs) = (Cancel::default(), self.cache.runs_dir());
        let env = TaskEnv { cache: &self.cache, registry: &self.registry, cancel: &cancel, watch: &Deaf, logs: &logs };
        let news = match run_task(&errand.job, &env) {
            Ok(TaskDone { key, ran, .. }) => {
                inside.done.insert(ticket);
                News::Done { key, ran }
            }
            Err(TaskFailed { error, log }) => {
                inside.lost.insert(ticket);
                News::Failed { error, log }
            }
        };
        inside.tell(ticket, news, self.weather);
    }
}

impl Inside {
    fn below(&mut self, n: u64) -> u64 {
        let mut random = Random(self.random);
        let number = random.below(n);
        self.random = random.0;
        number
    }

    fn happens(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn tell(&mut self, ticket: Ticket, news: News, weather: Weather) {
        if self.happens(weather.doubled)
            && let News::Done { key, ran } = news
        {
            self.late.push((ticket, News::Done { key, ran }));
        }
        if self.happens(weather.late) { self.late.push((ticket, news)) } else { self.news.push((ticket, news)) }
    }

    /// A job whose turn it may be, at random.
    fn pick(&mut self) -> Option<Queued> {
        let ready = |job: &Queued| job.after.iter().all(|up| self.done.contains(up));
        let ready: Vec<usize> = (0..self.queue.len()).filter(|n| ready(&self.queue[*n])).collect();
        if ready.is_empty() {
            return None;
        }
        let at = ready[self.below(ready.len() as u64) as usize];
        Some(self.queue.swap_remove(at))
    }

    /// As Slurm does it: what waits for something that did not end well is taken out of the queue.
    fn drop_what_waits_in_vain(&mut self) {
        while let Some(at) = self.queue.iter().position(|job| job.after.iter().any(|up| self.lost.contains(up))) {
            let ticket = self.queue.swap_remove(at).errand.ticket;
            self.lost.insert(ticket);
            self.news.push((ticket, News::Withdrawn));
        }
    }
}

impl Cluster for Fickle {
    fn on_their_way(&self) -> Result<HashSet<Ticket>, ClusterError> {
        Ok(self.earlier.clone())
    }

    fn submit(&self, batch: Batch<'_>) {
        let mut inside = self.inside();
        for errand in batch.errands {
            inside.lost.remove(&errand.ticket);
            inside.submitted.push(errand.ticket);
            inside.queue.push(Queued { errand, after: batch.after.clone() });
        }
    }

    fn listen(&self, stop: &dyn Fn() -> bool) -> Vec<(Ticket, News)> {
        let mut inside = self.inside();
        inside.drop_what_waits_in_vain();
        if inside.happens(self.weather.withdrawn)
            && let Some(job) = inside.pick()
        {
            inside.lost.insert(job.errand.ticket);
            inside.news.push((job.errand.ticket, News::Withdrawn));
        }
        for _ in 0..=inside.below(3) {
            let Some(job) = inside.pick() else { break };
            self.run(&job.errand, &mut inside);
        }
        let mut news = std::mem::take(&mut inside.news);
        if news.is_empty() || inside.happens(50) {
            news.append(&mut inside.late);
        }
        if inside.happens(self.weather.late) {
            news.reverse();
        }
        let idle = news.is_empty() && !stop();
        drop(inside);
        if idle {
            std::thread::sleep(Duration::from_millis(1));
        }
        news
    }

    fn withdraw(&self, tickets: &[Ticket]) {
        let mut inside = self.inside();
        let (taken, kept) = std::mem::take(&mut inside.queue)
            .into_iter()
            .partition(|job: &Queued| tickets.contains(&job.errand.ticket));
        inside.queue = kept;
        for job in taken {
            inside.lost.insert(job.errand.ticket);
            inside.news.push((job.errand.ticket, News::Withdrawn));
        }
    }

    fn interrupted(&self, _tickets: &[Ticket]) {
        self.inside().interrupted = true;
    }
}

/// Runs it there; it must end by itself.
fn run_afar(p: &Project, stages: Vec<Stage>, cluster: &Fickle, options: &RunOptions) -> RunSummary {
    let cancel = Cancel::default();
    // A run that hangs is asked to stop, and told apart by that.
    let over = std::sync::atomic::AtomicBool::new(false);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::SeqCst) {
                if begun.elapsed() > Duration::from_secs(60) {
                    cancel.cancel();
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let reach = Reach { cluster: Some(cluster), ..Reach::default() };
        let summary =
            run_within(reach, &p.graph(stages), &cluster.registry, &p.cache(), options, &(), &cancel).unwrap();
        over.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(!cluster.inside().interrupted, "it did not end by itself: {summary:#?}");
        summary
    })
}

fn write_files(p: &Project, model: &Model) {
    for (i, text) in model.files.iter().enumerate() {
        p.write(&format!("f{i}.txt"), text);
    }
}

#[track_caller]
fn is_right(p: &Project, model: &Model, here: &str) {
    for (i, (_, text)) in model.answer().iter().enumerate() {
        assert_eq!(&p.view(&format!("t{i}/out.txt")), text, "{here} stage {i}");
    }
}

/// Random pipelines with random edits, in this weather. `well`: every run must end well.
fn histories(seeds: std::ops::Range<u64>, weather: Weather, well: bool) {
    for seed in seeds {
        let mut random = Random(seed);
        let p = Project::new();
        let mut model = Model::random(&mut random);
        let mut known: HashSet<String> = HashSet::new();
        for round in 0..6 {
            let here = format!("seed {seed} round {round}");
            write_files(&p, &model);
            let answer = model.answer();
            let new: HashSet<&String> = answer.iter().map(|(key, _)| key).filter(|key| !known.contains(*key)).collect();
            let cluster = Fickle::new(&p, weather, random.next());
            let keep_going = random.below(2) == 0;
            let options = RunOptions { keep_going, ..RunOptions::default() };
            let mut summary = run_afar(&p, model.stages(p.root()), &cluster, &options);
            if well {
                assert!(summary.ok, "{here}: {summary:#?}");
            }
            let mut tries = 0;
            while !summary.ok {
                tries += 1;
                assert!(tries < 50, "{here}: it never ends well: {summary:#?}");
                summary = run_afar(&p, model.stages(p.root()), &cluster, &options);
            }
            is_right(&p, &model, &here);
            let ran = p.ran().len();
            assert!(ran == new.len() || weather.removed > 0, "{here}: {ran} tasks ran, {} were new", new.len());
            let before = cluster.submitted();
            if weather.removed == 0 {
                assert!(run_afar(&p, model.stages(p.root()), &cluster, &options).ok);
                assert_eq!(cluster.submitted(), before, "{here}: what is cached was submitted");
            }
            known.extend(answer.into_iter().map(|(key, _)| key));
            model.edit(&mut random);
        }
    }
}

#[test]
fn jobs_in_any_order_and_reports_in_any_other() {
    let weather = Weather { doubled: 30, late: 40, ..Weather::default() };
    histories(0..25, weather, true);
}

#[test]
fn jobs_that_come_back_are_handed_over_again() {
    let weather = Weather { returned: 10, doubled: 20, late: 30, ..Weather::default() };
    histories(100..125, weather, false);
}

#[test]
fn jobs_that_fail_and_vanish_only_cost_another_run() {
    let weather = Weather { returned: 15, withdrawn: 10, failed: 20, doubled: 20, late: 30, removed: 0 };
    histories(200..225, weather, false);
}

#[test]
fn results_that_vanish_are_made_again() {
    histories(300..325, Weather { removed: 20, late: 20, ..Weather::default() }, false);
    histories(400..425, Weather { returned: 10, withdrawn: 10, failed: 10, doubled: 20, late: 30, removed: 20 }, false);
}

/// A job that never gets anywhere is given up, with a reason.
#[test]
fn a_job_that_comes_back_for_ever() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    let cluster = Fickle::new(&p, Weather { returned: 100, ..Weather::default() }, 1);
    let summary = run_afar(&p, chain(&p, ""), &cluster, &RunOptions::default());
    assert!(!summary.ok);
    assert!(summary.failures[0].message.contains("lost"), "{summary:#?}");
    assert!(cluster.submitted() < 10);
}

/// What an earlier run handed over is not handed over again, until the cluster says that it came back.
#[test]
fn what_an_earlier_run_left_is_followed_and_handed_over_if_it_comes_back() {
    let p = Project::new();
    p.write("a.txt", "one\n");
    let plan = plan(&p.graph(chain(&p, "")), &p.cache(), &Selection::default()).unwrap();
    let tickets: Vec<Ticket> = plan.tasks.iter().filter_map(|task| task.ticket).collect();
    assert_eq!(tickets.len(), 3);
    for lost in 0..3 {
        let p = Project::new();
        p.write("a.txt", "one\n");
        let mut cluster = Fickle::new(&p, Weather::default(), 1);
        cluster.earlier = tickets.iter().copied().take(lost + 1).collect();
        cluster.inside().news = tickets.iter().take(lost + 1).map(|ticket| (*ticket, News::Returned)).collect();
        let summary = run_afar(&p, chain(&p, ""), &cluster, &RunOptions::default());
        assert!(summary.ok, "{summary:#?}");
        assert_eq!(p.view("join/out.txt"), "ONE\nONE\n");
        assert_eq!(cluster.submitted(), 3);
    }
}

/// What reads a task whose bytes come out as before is not handed over.
#[test]
fn equal_bytes_end_there() {
    let p = Project::new();
    p.write("a.txt", "one\n#two\n");
    let cluster = Fickle::new(&p, Weather::default(), 1);
    assert!(run_afar(&p, chain(&p, ""), &cluster, &RunOptions::default()).ok);
    assert_eq!(cluster.submitted(), 3);
    settle();
    p.write("a.txt", "one\n#three\n");
    assert!(run_afar(&p, chain(&p, ""), &cluster, &RunOptions::default()).ok);
    assert_eq!(cluster.submitted(), 4);
    p.ran();
    assert!(p.run(chain(&p, "")).is_empty(), "here and there one cache");
}

/// Tasks of a stage go out together, and all that was never run goes out at once.
#[test]
fn a_fresh_graph_is_handed_over_as_a_whole() {
    let p = Project::new();
    let files: Vec<_> = (0..20).map(|n| p.write(&format!("in/{n}.txt"), &format!("{n}\n"))).collect();
    let stages = || {
        let all = stage("all", "concat").reads("in", "each").with(named("all")).done();
        vec![stage("each", "each").files("in", &files).with(json!({})).done(), all]
    };
    let cluster = Fickle::new(&p, Weather::default(), 3);
    assert!(run_afar(&p, stages(), &cluster, &RunOptions::default()).ok);
    assert_eq!(cluster.submitted(), 21);
    let numbers: BTreeSet<String> = p.view("all/out.txt").lines().map(str::to_owned).collect();
    assert_eq!(numbers.len(), 20);
}

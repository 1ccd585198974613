use std::fs::{self, File};
use std::path::PathBuf;

use super::*;

struct Rig {
    _folder: tempfile::TempDir,
    path: PathBuf,
    watch: DirectoryWatch,
    writes: u64,
}

const ONE: &str = "sip,line,device\nsip:bob@contoso.com,tel:2,5102\n";
const TWO: &str = "sip,line,device\nsip:bob@contoso.com,tel:2,5102\nsip:carol@contoso.com,tel:3,5103\n";
const BROKEN: &str = "sip,line,device\nbob,tel:2,5102\n";

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("users.csv");
        fs::write(&path, ONE).expect("write");
        let mut config = Config::default();
        config.users.file = Some(path.clone());
        let (watch, warnings) = DirectoryWatch::open(&config, &Lines::default()).expect("good");
        assert_eq!(warnings, []);
        Self { _folder: folder, path, watch, writes: 0 }
    }

    /// Each write gets a time of its own, whatever the file system's clock resolves.
    fn write(&mut self, text: &str) {
        self.writes += 1;
        fs::write(&self.path, text).expect("write");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(self.writes);
        File::options().write(true).open(&self.path).and_then(|file| file.set_modified(time)).expect("time");
    }

    fn users(&self) -> usize {
        self.watch.current().len()
    }
}

#[test]
fn a_changed_file_is_taken_once_it_is_at_rest() {
    let mut rig = Rig::new();
    assert_eq!(rig.watch.look(), Reload::Unchanged);
    let held = rig.watch.current();
    rig.write(TWO);
    assert_eq!(rig.watch.look(), Reload::Settling);
    assert_eq!(rig.users(), 1);
    assert_eq!(rig.watch.look(), Reload::Loaded { users: 2, warnings: Vec::new() });
    assert_eq!((rig.users(), held.len()), (2, 1), "who holds the old directory keeps it");
    assert_eq!(rig.watch.look(), Reload::Unchanged);
}

#[test]
fn a_file_that_is_still_being_written_is_not_taken() {
    let mut rig = Rig::new();
    for end in [20, 40, 60] {
        rig.write(&TWO[..end]);
        assert_eq!(rig.watch.look(), Reload::Settling);
    }
    rig.write(TWO);
    assert_eq!(rig.watch.look(), Reload::Settling);
    assert!(matches!(rig.watch.look(), Reload::Loaded { users: 2, .. }));
}

#[test]
fn a_broken_or_vanished_file_keeps_the_directory_and_is_told_once() {
    let mut rig = Rig::new();
    rig.write(BROKEN);
    assert_eq!(rig.watch.look(), Reload::Settling);
    let Reload::Kept { problems } = rig.watch.look() else { panic!("kept") };
    assert_eq!((problems[0].rule, problems[0].line), ("sip_address", Some(2)));
    assert_eq!((rig.watch.look(), rig.users()), (Reload::Unchanged, 1));
    fs::remove_file(&rig.path).expect("remove");
    assert_eq!(rig.watch.look(), Reload::Settling);
    assert!(matches!(rig.watch.look(), Reload::Kept { .. }));
    assert_eq!((rig.watch.look(), rig.users()), (Reload::Unchanged, 1));
    rig.write(TWO);
    assert_eq!(rig.watch.look(), Reload::Settling);
    assert!(matches!(rig.watch.look(), Reload::Loaded { users: 2, .. }));
}

#[test]
fn the_operators_order_reads_at_once() {
    let mut rig = Rig::new();
    rig.write(TWO);
    assert_eq!(rig.watch.reload(), Reload::Loaded { users: 2, warnings: Vec::new() });
    assert_eq!(rig.watch.look(), Reload::Unchanged);
}

#[tokio::test]
async fn the_watch_looks_by_itself() {
    let mut rig = Rig::new();
    rig.watch.config.users.reload_s = 1;
    rig.write(TWO);
    let watch = Arc::new(rig.watch);
    tokio::time::pause();
    let running = tokio::spawn(watch.clone().run());
    while watch.current().len() != 2 {
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    running.abort();
}

#[tokio::test]
async fn without_a_file_there_is_nothing_to_watch() {
    let (watch, _) = DirectoryWatch::open(&Config::embedded(), &Lines::default()).expect("good");
    assert_eq!(watch.current().len(), 20);
    Arc::new(watch).run().await;
}

//! A disk for one node: an XFS image on an XFS that can clone files in an instant, so that the power can be cut.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::LiveError;
use super::outside::run;

/// XFS wants 300 MB at least; the files are sparse.
const IMAGE_MB: u64 = 320;

/// The file system below all disks of a run.
pub struct Cellar {
    folder: PathBuf,
}

impl Cellar {
    /// Must run inside a mount namespace of its own: the mounts vanish with it, and the loop devices with them.
    pub fn make(folder: &Path) -> Result<Self, LiveError> {
        let (ground, below) = (folder.join("ground"), folder.join("cellar"));
        fs::create_dir_all(&ground)?;
        fs::create_dir_all(&below)?;
        // In memory: what others do to this machine's disk must not look like our fault.
        run(&format!("mount -t tmpfs -o size=4g tmpfs {}", ground.display()))?;
        let image = ground.join("cellar.img");
        format(&image, 4 * 1024 - 64)?;
        run(&format!("mount -o loop {} {}", image.display(), below.display()))?;
        Ok(Self { folder: below })
    }

    pub fn disk(&self, node: u32, mount_point: &Path) -> Result<Disk, LiveError> {
        fs::create_dir_all(mount_point)?;
        let image = self.folder.join(format!("disk{node}.img"));
        format(&image, IMAGE_MB)?;
        let disk = Disk { image, mount_point: mount_point.to_owned(), cuts: 0 };
        disk.mount()?;
        Ok(disk)
    }
}

fn format(image: &Path, mb: u64) -> Result<(), LiveError> {
    fs::File::create(image)?.set_len(mb * 1024 * 1024)?;
    run(&format!("mkfs.xfs -q -m reflink=1 {}", image.display())).map(drop)
}

pub struct Disk {
    image: PathBuf,
    pub mount_point: PathBuf,
    cuts: u32,
}

impl Disk {
    fn mount(&self) -> Result<(), LiveError> {
        run(&format!("mount -o loop {} {}", self.image.display(), self.mount_point.display())).map(drop)
    }

    fn ballast(&self) -> PathBuf {
        self.mount_point.join("ballast")
    }

    /// Leaves no room, and shows that there is none.
    pub fn fill(&self) -> Result<String, LiveError> {
        let mut ballast = fs::File::create(self.ballast())?;
        let mut piece = vec![0x5a; 1024 * 1024];
        loop {
            match ballast.write(&piece) {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) if piece.len() > 512 => piece.truncate(piece.len() / 2),
                Err(error) => return Ok(format!("a write to the full disk: {error}")),
            }
        }
        Ok("the disk takes no byte more".to_owned())
    }

    pub fn free(&self) -> Result<(), LiveError> {
        Ok(fs::remove_file(self.ballast())?)
    }

    /// From now on every access answers EIO, as of a disk that is gone.
    pub fn fail(&self) -> Result<String, LiveError> {
        run(&format!("xfs_io -x -c shutdown {}", self.mount_point.display()))?;
        match fs::write(self.mount_point.join("probe"), b"x") {
            Ok(()) => Err(LiveError::Unavailable("disk errors: the shut-down file system still takes writes")),
            Err(error) => Ok(format!("a write to the failed disk: {error}")),
        }
    }

    /// The node must be down.
    pub fn repair(&self) -> Result<(), LiveError> {
        run(&format!("umount {}", self.mount_point.display()))?;
        self.mount()
    }

    pub fn hang(&self) -> Result<(), LiveError> {
        run(&format!("fsfreeze -f {}", self.mount_point.display())).map(drop)
    }

    pub fn go_on(&self) -> Result<(), LiveError> {
        run(&format!("fsfreeze -u {}", self.mount_point.display())).map(drop)
    }

    /// Keeps what is on the platter now; what only the page cache holds is not among it. The node must have been killed.
    pub fn freeze_platter(&mut self) -> Result<PathBuf, LiveError> {
        self.cuts += 1;
        let kept = self.image.with_extension(format!("cut{}", self.cuts));
        run(&format!("cp --reflink=always {} {}", self.image.display(), kept.display()))?;
        Ok(kept)
    }

    /// Goes on from what was on the platter, as after a power cut.
    pub fn restore(&mut self, kept: PathBuf) -> Result<(), LiveError> {
        run(&format!("umount {}", self.mount_point.display()))?;
        fs::remove_file(&self.image)?;
        self.image = kept;
        // Two images of one file system have one id; the old one is unmounted, so the new one may be mounted.
        self.mount()
    }
}

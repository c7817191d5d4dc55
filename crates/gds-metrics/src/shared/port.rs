//! One port for the processes of one program, and for nobody else.
//!
//! Processes that share a folder listen on one port together (`SO_REUSEPORT`), and the kernel would let any other program
//! of the same user join them. So the first of them makes sure that the port is free, and the others see by a lock in
//! the folder that one of theirs has it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::archive::Folder;
use crate::error::Result;
use gds_net::probe;
use gds_process::lock::Lock;

/// The right to listen on a port with the other processes of the folder, for as long as it is kept.
#[derive(Debug)]
pub struct PortClaim {
    lock: Lock,
    folder: Folder,
    port: u16,
}

impl PortClaim {
    /// Claims the port again where the file that says so was removed: the next process of the program would take those
    /// that listen for strangers.
    pub fn keep_in_place(&mut self) -> io::Result<()> {
        if !self.lock.is_at(&self.folder.port_path(self.port)) {
            self.lock = self.folder.port_file(self.port).and_then(Lock::share)?;
        }
        Ok(())
    }
}

impl Folder {
    /// Claims `port`, to listen on it afterwards; fails with [`gds_net::Error::Listen`] if another program listens there.
    pub fn claim_port(&self, addr: &str, port: u16) -> Result<PortClaim> {
        match self.port_file(port).and_then(|file| Lock::within(file, Duration::ZERO)) {
            Ok(first) => {
                probe(addr, port)?;
                first.shared().map(|lock| self.claim(port, lock)).map_err(|source| self.unusable(source))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.join_port(port),
            Err(error) => Err(self.unusable(error)),
        }
    }

    /// Claims a port on which this process listens already, so that others of the folder may join it.
    pub fn join_port(&self, port: u16) -> Result<PortClaim> {
        let shared = self.port_file(port).and_then(Lock::share);
        shared.map(|lock| self.claim(port, lock)).map_err(|source| self.unusable(source))
    }

    fn claim(&self, port: u16, lock: Lock) -> PortClaim {
        PortClaim { lock, folder: self.clone(), port }
    }

    fn port_file(&self, port: u16) -> io::Result<File> {
        File::options().create(true).truncate(false).write(true).open(self.port_path(port))
    }

    fn port_path(&self, port: u16) -> PathBuf {
        self.path().join(format!("port-{port}"))
    }
}

//! Secrets on the command lines of known programs: `mysql -p...`, `curl -u u:...`, `redis-cli -a ...`.
//!
//! Flags that have a name (`--password x`) are found by it, whatever the program.

use std::ops::Range;

use super::{Found, LOOK, LOOK_STATEMENT, Scan};
use crate::text::{is_identifier, is_listed, run};
use crate::{prose, values};

/// A program, and where on its command line secrets are.
pub(super) struct Program {
    pub(super) name: &'static str,
    /// Whether the names of a family begin so: `mysqldump`, `mongosh`.
    is_family: bool,
    takes: &'static [Takes],
}

enum Takes {
    /// `-px`, and nothing if a space follows
    Glued(&'static str),
    /// `-p x`
    Next(&'static str),
    /// `-p x`, if the program's first word is this
    NextOf(&'static str, &'static str),
    /// `-u user:x`, with this sign in between
    User(&'static str, u8),
    /// So many words behind this one: `add_user u x`
    Word(&'static str, usize),
    /// A word `user/x`, perhaps with `@db` behind
    Login(u8),
    /// The last word, if there is a flag with this letter
    Last(u8),
    /// All words, if they are piped to a program that reads a password
    Piped,
    /// The word behind that of a share, `use \\h\s x`, or behind an account, `user u x /add`
    Net,
}

use Takes::{Glued, Last, Login, Net, Next, NextOf, Piped, User, Word};

const fn program(name: &'static str, takes: &'static [Takes]) -> Program {
    Program { name, is_family: false, takes }
}

const fn family(name: &'static str, takes: &'static [Takes]) -> Program {
    Program { name, is_family: true, takes }
}

pub(super) const PROGRAMS: &[Program] = &[
    family("mysql", &[Glued("-p"), Word("password", 1)]),
    family("mariadb", &[Glued("-p"), Word("password", 1)]),
    program("ACL", &[Glued(">")]),
    program("acl", &[Glued(">")]),
    program("echo", &[Piped]),
    program("printf", &[Piped]),
    family("mongo", &[Next("-p")]),
    program("redis-cli", &[Next("-a"), Word("auth", 1)]),
    program("valkey-cli", &[Next("-a"), Word("auth", 1)]),
    program("sqlcmd", &[Next("-P"), Glued("-P")]),
    program("bcp", &[Next("-P"), Glued("-P")]),
    program("isql", &[Next("-P"), Glued("-P")]),
    program("osql", &[Next("-P"), Glued("-P")]),
    program("tsql", &[Next("-P"), Glued("-P")]),
    program("freebcp", &[Next("-P"), Glued("-P")]),
    program("cqlsh", &[Next("-p")]),
    family("sqlplus", &[Login(b'/')]),
    program("sqlldr", &[Login(b'/')]),
    program("expdp", &[Login(b'/')]),
    program("impdp", &[Login(b'/')]),
    program("rman", &[Login(b'/')]),
    program("exp", &[Login(b'/')]),
    program("imp", &[Login(b'/')]),
    program(".logon", &[Login(b',')]),
    program("vsql", &[Next("-w")]),
    program("nzsql", &[Next("-pw"), Next("-W")]),
    program("hdbsql", &[Next("-p")]),
    program("beeline", &[Next("-p")]),
    program("influx", &[Next("-p")]),
    program("curl", &[User("-u", b':'), User("--user", b':'), User("-U", b':'), User("--proxy-user", b':')]),
    family("http", &[User("-a", b':'), User("--auth", b':')]),
    program("wscat", &[User("--auth", b':')]),
    program("sshpass", &[Glued("-p"), Next("-p")]),
    family("ldap", &[Next("-w")]),
    program("smbclient", &[User("-U", b'%')]),
    program("rpcclient", &[User("-U", b'%')]),
    program("lftp", &[User("-u", b',')]),
    program("vault", &[Word("login", 1)]),
    program("docker", &[NextOf("login", "-p")]),
    program("podman", &[NextOf("login", "-p")]),
    program("nerdctl", &[NextOf("login", "-p")]),
    program("skopeo", &[NextOf("login", "-p")]),
    program("helm", &[NextOf("login", "-p")]),
    program("az ", &[NextOf("login", "-p")]),
    program("oc ", &[NextOf("login", "-p")]),
    program("cf ", &[NextOf("login", "-p")]),
    program("rabbitmqctl", &[Word("add_user", 2), Word("change_password", 2), Word("authenticate_user", 2)]),
    program("htpasswd", &[Last(b'b')]),
    program("zip", &[Next("-P")]),
    program("unzip", &[Next("-P")]),
    program("7z", &[Glued("-p")]),
    program("unrar", &[Glued("-p")]),
    program("openssl", &[Next("-k"), Next("-K")]),
    program("ipmitool", &[Next("-P")]),
    family("snmp", &[Next("-A"), Next("-X")]),
    program("xfreerdp", &[Glued("/p:")]),
    program("rdesktop", &[Next("-p")]),
    program("psexec", &[Next("-p")]),
    program("net", &[Net]),
    program("NET", &[Net]),
    program("schtasks", &[Next("/rp"), Next("/RP"), Next("/p"), Next("/P")]),
];

/// What programs that read a password from their input have on their command lines.
const READS: &[&[u8]] = &[b"-stdin", b"sudo -S", b"passwd --stdin", b"--passphrase-fd 0"];

/// Programs that read one without being told to.
const READERS: &[&[u8]] = &[b"kinit", b"cryptsetup", b"smbpasswd"];

impl Scan<'_> {
    /// What a program is given. The walk goes on behind its name: the rest of the line may have more.
    pub(super) fn command(&mut self, program: &Program, start: usize, end: usize) -> Option<Found> {
        let before = start.checked_sub(1).map(|at| self.bytes[at]);
        let begins = before.is_none_or(|byte| byte.is_ascii_whitespace() || b"/\"'`(|;&=\\:>".contains(&byte));
        let end = end - usize::from(program.name.ends_with(' '));
        let rest = self.glance(end, |byte| is_identifier(byte) || byte == b'.').len();
        let end = if program.is_family { end + rest } else { end };
        let end = end + if self.says(end, ".exe") { ".exe".len() } else { 0 };
        let is_command = begins
            && start >= self.command_end
            && matches!(self.byte(end), Some(b' ' | b'\t' | b'"' | b'\'' | b'\\'))
            && self.bytes[start..].starts_with(program.name.as_bytes());
        if !is_command {
            return None;
        }
        let words = self.command_words(end);
        self.command_end = words.last().map_or(end, |last| last.end);
        for secret in self.given(program, &words) {
            self.take(secret);
        }
        None
    }

    /// The words of a command line, or of a list of arguments, without their quotes.
    fn command_words(&self, from: usize) -> Vec<Range<usize>> {
        let end = (from + LOOK_STATEMENT).min(self.bytes.len());
        let mut words = Vec::new();
        // The quote that closes the program's name: what follows is a list, in which each word has its own.
        let is_list = self.byte(from) != Some(b' ');
        let mut at = if is_list { from + self.quote(from).unwrap_or(0) } else { from };
        while at < end {
            at += self
                .look_ahead(at, LOOK_STATEMENT, |byte| matches!(byte, b' ' | b'\t' | b',' | b'[' | b']' | b'\\'))
                .len();
            match self.byte(at) {
                None | Some(b'\n' | b'\r' | b'|' | b';' | b'<' | b'&') => break,
                Some(b'>') if self.byte(at + 1).is_none_or(|next| !next.is_ascii_alphanumeric()) => break,
                Some(b'"' | b'\'') => {
                    // The end of a line that is in quotes itself.
                    let closes = !is_list && self.bytes[at - 1] != b' ';
                    let Some(quoted) = self.quoted(at).filter(|_| !closes) else { break };
                    at = quoted.end + 1;
                    words.push(quoted);
                }
                Some(_) => {
                    let start = at;
                    at = self.word_end(start, end);
                    words.push(start..at);
                    at = at.max(start + 1);
                }
            }
        }
        words
    }

    /// Where a word ends; `-p'a b'` is one.
    fn word_end(&self, start: usize, end: usize) -> usize {
        let mut at = start;
        while at < end {
            match self.bytes[at] {
                byte if byte.is_ascii_whitespace() => break,
                b'"' | b'\'' | b'`' => {
                    let is_flag = at - start == 2 && self.bytes[start] == b'-';
                    // `scott/"x"@db`
                    let is_login = at > start && self.bytes[at - 1] == b'/';
                    match self.quoted(at).filter(|_| is_flag || is_login) {
                        Some(quoted) if is_flag => return (quoted.end + 1).min(end),
                        Some(quoted) => at = (quoted.end + 1).min(end),
                        None => break,
                    }
                }
                _ => at += 1,
            }
        }
        at
    }

    fn given(&self, program: &Program, words: &[Range<usize>]) -> Vec<Range<usize>> {
        let text = |word: &Range<usize>| &self.bytes[word.clone()];
        let mut secrets = Vec::new();
        for takes in program.takes {
            for (number, word) in words.iter().enumerate() {
                let next = words.get(number + 1).cloned();
                let rest = |flag: &str| word.start + flag.len()..word.end;
                let said = text(word);
                let secret = match takes {
                    Glued(flag) if said.len() > flag.len() && said.starts_with(flag.as_bytes()) => Some(rest(flag)),
                    Next(flag) if said == flag.as_bytes() => next,
                    NextOf(first, flag) if said == flag.as_bytes() => {
                        next.filter(|_| words[..number].iter().any(|word| text(word) == first.as_bytes()))
                    }
                    User(flag, sign) if said.starts_with(flag.as_bytes()) => {
                        let user = if said.len() == flag.len() { next } else { Some(rest(flag)) };
                        user.and_then(|user| self.behind(user, *sign))
                    }
                    Word(first, count) if said.eq_ignore_ascii_case(first.as_bytes()) => {
                        let operands = words[number + 1..].iter().filter(|word| !text(word).starts_with(b"-"));
                        operands
                            .clone()
                            .nth(count - 1)
                            .filter(|word| self.is_operand(word, words.len() <= number + 2 + count))
                            .cloned()
                    }
                    Login(sign) if !said.starts_with(b"-") => {
                        let is_first = secrets.is_empty()
                            || number > 0 && is_listed(text(&words[number - 1]), &["auxiliary", "catalog"]);
                        if is_first { self.login(word.clone(), *sign) } else { None }
                    }
                    Net if number == 0 => self.net(words),
                    Piped => self.piped(word.clone(), words),
                    Last(letter) if number + 1 == words.len() && number > 1 => {
                        let has_flag =
                            words.iter().any(|word| text(word).starts_with(b"-") && text(word).contains(letter));
                        has_flag.then(|| word.clone())
                    }
                    _ => None,
                };
                let secret = secret.map(|secret| self.unquoted_word(secret));
                secrets.extend(secret.filter(|secret| !secret.is_empty() && !self.is_no_argument(secret)));
            }
        }
        secrets
    }

    /// `echo x | docker login --password-stdin`, `echo u:x | chpasswd`
    fn piped(&self, word: Range<usize>, words: &[Range<usize>]) -> Option<Range<usize>> {
        let end = words.last()?.end;
        let pipe = end + self.glance(end, |byte| matches!(byte, b'"' | b'\'' | b' ')).len();
        let reader = self.look_ahead(pipe, 2 * LOOK, |byte| byte != b'\n');
        if reader.first() == Some(&b'|') { self.read_by(&reader[1..], word) } else { None }
    }

    /// What of a word is secret that this command line reads.
    fn read_by(&self, reader: &[u8], word: Range<usize>) -> Option<Range<usize>> {
        let reads = |what: &[u8]| reader.windows(what.len()).any(|bytes| bytes == what);
        if reads(b"chpasswd") {
            return self.behind(word, b':');
        }
        let program = reader.trim_ascii_start();
        let program = program.strip_prefix(b"sudo ").unwrap_or(program);
        let reads = READS.iter().any(|what| reads(what)) || READERS.iter().any(|name| program.starts_with(name));
        reads.then_some(word)
    }

    /// `chpasswd <<< u:x`, and the lines of `chpasswd <<EOF`.
    pub(super) fn here(&mut self, start: usize, end: usize) -> Option<Found> {
        let line = self.look_back(start, 2 * LOOK, |byte| byte != b'\n');
        let reader = &self.bytes[line..start];
        if reader.ends_with(b"<") {
            return None;
        }
        if self.byte(end) == Some(b'<') {
            let at = self.skip_spaces(end + 1);
            let word = at..self.word_end(at, (at + LOOK_STATEMENT).min(self.bytes.len()));
            let word = if word.is_empty() { self.quoted(at)? } else { word };
            let secret = self.read_by(reader, word).filter(|secret| !self.is_no_argument(secret))?;
            return Found::secret(secret);
        }
        if start < self.command_end || !reader.windows(8).any(|bytes| bytes == b"chpasswd") {
            return None;
        }
        let mark = self.glance(end, |byte| byte.is_ascii_alphanumeric() || b"-_\\ '\"".contains(&byte)).trim_ascii();
        let is_of_mark = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let mark: Vec<u8> = mark.iter().copied().filter(|&byte| is_of_mark(byte)).collect();
        let limit = (end + LOOK_STATEMENT).min(self.bytes.len());
        let line_end = |from: usize| run(&self.bytes[..limit], from.min(limit), |byte| byte != b'\n');
        let mut at = line_end(end);
        while at + 1 < limit {
            let line = at + 1..line_end(at + 1);
            let text = &self.bytes[line.clone()];
            if text.trim_ascii() == mark {
                break;
            }
            at = line.end;
            if let Some(secret) = self.behind(line, b':').filter(|secret| !self.is_no_argument(secret)) {
                self.take(secret);
            }
        }
        self.command_end = at;
        None
    }

    /// `use z: \\h\s x /user:u`, `user u x /add`
    fn net(&self, words: &[Range<usize>]) -> Option<Range<usize>> {
        let text = |word: &Range<usize>| &self.bytes[word.clone()];
        let is_switch = |word: &Range<usize>| matches!(text(word), [b'/', letter, ..] if letter.is_ascii_alphabetic());
        let (first, rest) = words.split_first()?;
        if text(first).eq_ignore_ascii_case(b"use") {
            let is_share = |word: &Range<usize>| self.bytes[word.start - 1] == b'\\' || text(word).starts_with(b"\\");
            let share = rest.iter().position(is_share)?;
            return rest[share + 1..].iter().find(|word| !is_switch(word)).cloned();
        }
        let password = rest.get(1).filter(|word| text(first).eq_ignore_ascii_case(b"user") && !is_switch(word))?;
        let is_one = prose::is_password(text(password)) || rest[2..].iter().any(is_switch);
        is_one.then(|| password.clone())
    }

    /// `vault login x` is a token, "vault login failed for x" is none.
    fn is_operand(&self, word: &Range<usize>, is_last: bool) -> bool {
        let text = &self.bytes[word.clone()];
        !text.contains(&b'=') && !prose::is_said(text) && (is_last || prose::is_token(text) || prose::is_password(text))
    }

    fn is_no_argument(&self, word: &Range<usize>) -> bool {
        let text = &self.bytes[word.clone()];
        text.starts_with(b"-")
            || values::is_placeholder(text)
            || values::is_absent(text)
            || text.starts_with(crate::MARK.as_bytes())
    }

    /// What is behind the user: `u:x`.
    fn behind(&self, user: Range<usize>, sign: u8) -> Option<Range<usize>> {
        let user = self.unquoted_word(user);
        let text = &self.bytes[user.clone()];
        let at = text.iter().take(LOOK).position(|&byte| byte == sign).filter(|at| *at > 0)?;
        Some(user.start + at + 1..user.end)
    }

    /// `scott/x@db`, `host/scott,x`; a path has more slashes.
    fn login(&self, word: Range<usize>, sign: u8) -> Option<Range<usize>> {
        let text = &self.bytes[word.clone()];
        let user = text.iter().position(|&byte| byte == sign).filter(|at| *at > 0)?;
        let user_ok = text[..user].iter().all(|&byte| is_identifier(byte) || b"/=\".$#[]".contains(&byte))
            && !text[0].is_ascii_digit();
        let start = word.start + user + 1;
        let at = text[user + 1..].iter().rposition(|&byte| byte == b'@').map_or(word.end, |at| start + at);
        // With `@db` behind, a password may have slashes; without, it would be a path.
        (user_ok && (at < word.end || !self.bytes[start..at].contains(&b'/'))).then_some(start..at)
    }

    fn unquoted_word(&self, word: Range<usize>) -> Range<usize> {
        let text = &self.bytes[word.clone()];
        match text {
            [b'"' | b'\'', .., b'"' | b'\''] => word.start + 1..word.end - 1,
            _ => word,
        }
    }
}

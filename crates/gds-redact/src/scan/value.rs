//! Values behind the names of secrets: where they begin and end, and whether they are secrets at all.

use std::ops::Range;

use super::keyed::{Named, Separator};
use super::{Found, LOOK, LOOK_BRACKETS, LOOK_STATEMENT, Scan};
use crate::text::{CharacterClasses, is_identifier, is_listed};
use crate::{MARK, prose, values};

/// Schemes of an `Authorization` header that have a list of parameters; all others have one credential after them.
const SCHEMES_WITH_LIST: &[&str] =
    &["aws4-hmac-sha256", "digest", "hawk", "hmac-sha256", "oauth", "scram-sha-256", "signature", "snowflake"];

impl Scan<'_> {
    pub(super) fn value(&self, named: &Named) -> Option<Found> {
        let from = named.value;
        let name = &self.bytes[named.name.clone()];
        if let Some(quoted) = self.quoted(from) {
            let inside = &self.bytes[quoted.clone()];
            let inside = &inside[..inside.len().min(LOOK_BRACKETS)];
            // `Unexpected token: "}"`
            let is_sign =
                inside.len() <= 3 && (!inside.iter().any(u8::is_ascii_alphanumeric) || inside.starts_with(b"\\"));
            let is_scheme = is_header(name) && prose::is_scheme(inside.trim_ascii());
            let is_prose = named.kind == Separator::Literal && prose::is_sentence(inside);
            // `typeof password === "string"`, `token == "then"` of a parser
            let is_kind = named.kind == Separator::Compared
                && (values::is_type(inside) || name.eq_ignore_ascii_case(b"token") && prose::is_keyword(inside));
            if inside.is_empty()
                || is_sign
                || is_scheme
                || is_prose
                || is_kind
                || values::is_placeholder(inside)
                || values::is_absent(inside)
                || values::is_file_of_key(name, inside)
                || self.is_topic(named) && !prose::is_token(inside)
            {
                return Found::nothing(quoted.start);
            }
            // Lines of a key: their own rule knows where they end.
            if inside.starts_with(b"-----BEGIN") {
                return Found::nothing(quoted.start);
            }
            let start = if is_header(name) { self.after_scheme(quoted.clone()).0 } else { quoted.start };
            let found = self.unless_done(start..quoted.end);
            return found.or(Found::nothing(quoted.end));
        }
        match self.byte(from)? {
            _ if named.kind == Separator::Tag => self.tagged(named),
            b'\n' | b'\r' => self.next_line(named, from),
            b'!' | b'&' | b'#' if named.kind == Separator::Colon && self.starts_with(named.name.end, b": ") => {
                self.marked(named)
            }
            // What has no quotes and is compared is a name, or code.
            _ if named.kind == Separator::Compared => {
                let word = self.look_ahead(from, LOOK_BRACKETS, |byte| byte.is_ascii_alphanumeric());
                let end = from + word.len();
                if self.is_over(end) && prose::is_literal(word) {
                    Found::secret(from..end)
                } else {
                    Found::nothing(from)
                }
            }
            b'{' if let Some(braced) = self.braced(named) => Found::secret(braced),
            b'[' | b'{' | b'(' if !self.starts_with(from, MARK.as_bytes()) => self.structure(named),
            b'<' if self.starts_with(from, b"<![CDATA[") => {
                let end = self.run(from + 9, |byte| byte != b']');
                self.unless_done(from + 9..end)
            }
            b'|' | b'>' if named.kind == Separator::Colon => self.block(named),
            _ if named.kind == Separator::Pair && self.byte(named.name.end) != Some(b' ') => None,
            _ => self.unquoted(named),
        }
    }

    /// The text of an element, up to the tag that closes it.
    fn tagged(&self, named: &Named) -> Option<Found> {
        let text = self.content(named.value, b"")?;
        if values::is_absent(&self.bytes[text.clone()]) { None } else { self.unless_done(text) }
    }

    /// A value of YAML with a tag, an anchor or a remark before it: `!!str x`, `&a x`.
    fn marked(&self, named: &Named) -> Option<Found> {
        let line = self.look_ahead(named.value, LOOK_BRACKETS, |byte| !matches!(byte, b'\n' | b'\r'));
        let end = named.value + line.len();
        if line.starts_with(b"# ") {
            return self.next_line(named, end);
        }
        let mark = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
        let is_mark =
            line.starts_with(b"!!") || line[0] == b'&' && line[1..mark].iter().all(|&byte| is_identifier(byte));
        let value = self.skip_spaces(named.value + mark);
        if !is_mark || mark < 2 || value == end {
            return if is_mark && line.starts_with(b"!!") { Found::nothing(end) } else { self.unquoted(named) };
        }
        self.value(&Named { name: named.name.clone(), kind: named.kind, value, quoted_name: named.quoted_name })
    }

    /// A value on the line below its name, further to the right: of YAML one word or a text in quotes, elsewhere the
    /// latter.
    fn next_line(&self, named: &Named, line: usize) -> Option<Found> {
        let value = line + self.glance(line, |byte| matches!(byte, b'\n' | b'\r')).len();
        let indent = self.glance(value, |byte| byte == b' ').len();
        let value = value + indent;
        let is_quoted = matches!(self.byte(value)?, b'"' | b'\'' | b'`');
        let kind = match named.kind {
            Separator::Colon | Separator::TightColon => Separator::Colon,
            Separator::Equals if is_quoted => Separator::Equals,
            _ => return None,
        };
        let whole = self.look_back(named.name.start, LOOK, |byte| is_identifier(byte) || byte == b'.');
        let begin = self.look_back(whole, LOOK, |byte| byte != b'\n');
        let before = &self.bytes[begin..whole];
        let own = before.iter().take_while(|byte| matches!(byte, b' ' | b'-')).count();
        // Nothing else is in its line, but for what logs write before a text: `ValueError: - password:`.
        let other = before.iter().rposition(|byte| !matches!(byte, b' ' | b'-' | b'"' | b'\''));
        let is_yaml = kind == Separator::Colon && other.is_none_or(|at| before[at] == b':');
        let word = self.look_ahead(value, LOOK_BRACKETS, |byte| !byte.is_ascii_whitespace());
        let is_word = self.byte(self.skip_spaces(value + word.len())).is_none_or(|byte| matches!(byte, b'\n' | b'\r'))
            && !word.ends_with(b":")
            && word.first().is_some_and(|first| !b"-#{[&*!|>@%".contains(first));
        let is_value = if is_quoted && (kind == Separator::Equals || named.quoted_name) {
            indent > 0
        } else {
            is_yaml && indent > own && (is_quoted || is_word)
        };
        let below = Named { name: named.name.clone(), kind, value, quoted_name: named.quoted_name };
        if is_value { self.value(&below) } else { None }
    }

    /// `PWD={a}}b;c};` of ODBC: up to a brace that is not doubled.
    fn braced(&self, named: &Named) -> Option<Range<usize>> {
        let start = named.value + 1;
        let mut at = start;
        while let Some(byte) = self.byte(at).filter(|byte| !matches!(byte, b'\n' | b'\r')) {
            if byte == b'}' {
                if self.byte(at + 1) != Some(b'}') {
                    break;
                }
                at += 1;
            }
            at += 1;
            if at - start > LOOK_BRACKETS {
                return None;
            }
        }
        let before = named.name.start.checked_sub(1).map(|at| self.bytes[at]);
        let inside = &self.bytes[start..at];
        let is_odbc = named.kind == Separator::Equals
            && (before == Some(b';')
                || self.byte(at + 1) == Some(b';')
                || inside.windows(2).any(|two| two == b"}}") && !self.starts_with(named.value, b"{{"));
        let is_template = values::is_name(inside);
        (is_odbc && self.byte(at) == Some(b'}') && !is_template && !inside.starts_with(b"{")).then_some(start..at)
    }

    /// Lines below a name that are further to the right: `password: |`.
    fn block(&self, named: &Named) -> Option<Found> {
        let sign = self.glance(named.value, |byte| matches!(byte, b'|' | b'>' | b'+' | b'-' | b'1'..=b'9'));
        let mut line = named.value + sign.len();
        line = self.skip_spaces(line);
        if self.byte(line) != Some(b'\n') {
            return None;
        }
        let begin = self.look_back(named.name.start, LOOK, |byte| byte != b'\n');
        let indent = self.glance(begin, |byte| byte == b' ').len();
        let (mut first, mut end) = (None, line);
        while self.byte(line) == Some(b'\n') {
            let text = self.run(line + 1, |byte| byte == b' ');
            let next = self.run(text, |byte| byte != b'\n');
            if text - line - 1 <= indent && next > text {
                break;
            }
            if next > text {
                first = first.or(Some(text));
                end = next;
            }
            line = next;
        }
        let first = first?;
        if self.starts_with(first, b"-----BEGIN") { Found::nothing(first) } else { self.unless_done(first..end) }
    }

    /// A list or an object under a secret's name: all of it.
    fn structure(&self, named: &Named) -> Option<Found> {
        let from = named.value;
        if self.starts_with(self.skip_spaces(from + 1), MARK.as_bytes()) {
            return Found::nothing(from + 1);
        }
        let close = self.close_of(from, if named.quoted_name { self.bytes.len() } else { LOOK_BRACKETS });
        let close = match close {
            Some(close) => close,
            None if named.quoted_name => self.bytes.len(),
            // A sentence, or a piece of one.
            None => return None,
        };
        let inside = from + 1..close;
        let content = self.bytes[inside.clone()].trim_ascii();
        let whole = &self.bytes[from..(close + 1).min(self.bytes.len())];
        let is_name = whole.len() < LOOK && (values::is_placeholder(whole) || values::is_absent(content));
        // `[0; 32]`
        let is_numbers = named.kind == Separator::Equals
            && content.len() < LOOK
            && content
                .split(|byte| b",; ".contains(byte))
                .all(|word| word.len() <= 3 && word.iter().all(u8::is_ascii_digit));
        let is_signs = !named.quoted_name && (is_numbers || !content.iter().any(u8::is_ascii_alphanumeric));
        // `{"password": {"type": "string"}}`, `{"password": ["This field is required."]}`
        let is_said = content.len() <= 2 * LOOK
            && self.quoted(inside.start).is_some_and(|first| {
                let first = &self.bytes[first];
                if self.bytes[from] == b'{' { prose::is_of_schema(first, content) } else { prose::is_sentence(first) }
            });
        // `CREDENTIALS=(AWS_KEY_ID='...' AWS_SECRET_KEY='...')`: what is a secret in it has a name of its own.
        if content.is_empty() || is_name || is_signs || is_said || self.bytes[from] == b'(' && content.contains(&b'=') {
            return Found::nothing(from + 1);
        }
        Found::secret(inside)
    }

    /// The bracket that closes the one here, within so many bytes.
    pub(super) fn close_of(&self, from: usize, look: usize) -> Option<usize> {
        let end = from.saturating_add(look).min(self.bytes.len());
        let (mut depth, mut quote, mut at) = (0_usize, 0_u8, from);
        while at < end {
            let byte = self.bytes[at];
            match byte {
                b'\\' if quote != 0 && self.byte(at + 1).is_some_and(|next| next.is_ascii()) => at += 1,
                _ if quote != 0 => quote = if byte == quote { 0 } else { quote },
                b'"' | b'\'' => quote = byte,
                b'[' if self.starts_with(at, MARK.as_bytes()) => at += MARK.len() - 1,
                b'[' | b'{' | b'(' => depth += 1,
                b']' | b'}' | b')' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(at);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        None
    }

    fn unquoted(&self, named: &Named) -> Option<Found> {
        let from = named.value;
        let name = &self.bytes[named.name.clone()];
        let (start, has_list) = if is_header(name) { self.after_scheme(from..self.bytes.len()) } else { (from, false) };
        if self.starts_with(start, MARK.as_bytes()) {
            return Found::nothing(start + MARK.len());
        }
        if self.starts_with(start, b"-----BEGIN") {
            return None;
        }
        let mut end = self.unquoted_end(start, named);
        let value = &self.bytes[start..end];
        if is_header(name) && prose::is_scheme(without_stop(value)) {
            return Found::nothing(end);
        }
        // `= PASSWORD('x')` and `arn:...:secret:x` have a rule's words in them.
        let call = self.glance(start, is_identifier);
        let is_call = self.byte(start + call.len()) == Some(b'(') && values::is_password_name(call);
        if is_call || values::is_reference(value) {
            return Found::nothing(if is_call { start } else { end });
        }
        // What is longer is nothing else than a secret; and whatever is not taken out may be looked at again.
        if value.is_empty() || value.len() <= LOOK_BRACKETS && self.is_none(named, start, end) {
            return None;
        }
        // `realm="x", response="y"`
        let pair = self.glance(start, is_identifier).len();
        if has_list
            && self.byte(start + pair) == Some(b'=')
            && let Some(quoted) = self.quoted(start + pair + 1)
        {
            end = (quoted.end + 1).min(self.bytes.len());
        }
        let is_cookie = name.len() >= 6 && name[name.len() - 6..].eq_ignore_ascii_case(b"cookie");
        if !has_list && !is_cookie {
            // All words of a phrase.
            while named.kind == Separator::Colon
                && values::last_word(std::str::from_utf8(name).unwrap_or("")) == "passphrase"
                && let word = self.glance(end + 1, |byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && self.byte(end) == Some(b' ')
                && !word.is_empty()
                && !matches!(self.byte(end + 1 + word.len()), Some(b':' | b'='))
            {
                end += 1 + word.len();
            }
            return Found::secret(start..end);
        }
        loop {
            // Further pairs: `a=1; b=2`, `realm="x", response="y"`.
            let next = self.skip_spaces(self.run(end, |byte| matches!(byte, b',' | b';' | b'"')));
            let pair = self.glance(next, is_identifier);
            let listed = next > end && self.bytes[end..next].iter().any(|byte| matches!(byte, b',' | b';'));
            if !listed || is_cookie_attribute(pair) || self.byte(next + pair.len()) != Some(b'=') {
                break;
            }
            end = match self.quoted(next + pair.len() + 1) {
                Some(quoted) => (quoted.end + 1).min(self.bytes.len()),
                None => self.unquoted_end(next + pair.len() + 1, named),
            };
        }
        Found::secret(start..end)
    }

    /// Whether a value without quotes says that there is none, or is a sentence or code.
    fn is_none(&self, named: &Named, start: usize, end: usize) -> bool {
        let value = &self.bytes[start..end];
        let name = &self.bytes[named.name.clone()];
        let after_scheme = start > named.value;
        let spoken = matches!(named.kind, Separator::Colon | Separator::Space) && !after_scheme;
        let is_sign = value.len() <= 3 && !value.iter().any(u8::is_ascii_alphanumeric);
        values::is_placeholder(value)
            || values::is_absent(value)
            || values::is_type(value) && named.kind != Separator::Space
            || spoken && (is_sign || prose::is_said(value) || self.is_topic(named) && !prose::is_token(value))
            || named.kind == Separator::Colon && after_scheme && prose::is_said(value)
            || named.kind == Separator::Colon && (value.starts_with(b"//") || self.is_prose(named, end))
            || named.kind == Separator::Space && value.starts_with(b"-")
            || named.kind == Separator::Pair && values::is_name(value)
            || value.starts_with(b"<") && self.is_object(named.value)
            || !after_scheme && self.is_code(named, value, end)
            || named.kind == Separator::Colon && self.is_declared(value, end)
            || named.kind == Separator::Colon && (value.starts_with(b"http://") || value.starts_with(b"https://"))
            || named.kind == Separator::Equals && (self.is_next_name(named, value) || self.starts_with(end, b" = "))
            || named.kind == Separator::Pair && self.is_heading(end)
            || value.len() <= 3 && value.iter().all(u8::is_ascii_digit)
            || named.kind == Separator::Space && Self::is_help(named, value)
            || is_number_of(name, value)
            || self.is_folder(named, value)
            || values::is_file_of_key(name, value)
    }

    /// `password=self.password`, `(password=password)`, `this.password = password`
    fn is_code(&self, named: &Named, value: &[u8], end: usize) -> bool {
        let name = &self.bytes[named.name.clone()];
        let is_attribute = named.name.start > 0 && self.bytes[named.name.start - 1] == b'.';
        let goes_on = [&b","[..], b")", b" or ", b" and ", b" if ", b" else "];
        // `previous_token = token`
        let is_last = named.kind == Separator::Equals
            && named.value > named.name.end + 2
            && name.strip_suffix(value).is_some_and(|before| before.ends_with(b"_"));
        let may_be_same = is_attribute || named.quoted_name || goes_on.iter().any(|next| self.starts_with(end, next));
        // ` = `, as only code is written
        let is_spaced = named.kind == Separator::Equals && named.value > named.name.end + 2;
        is_last
            || is_spaced && values::is_call(value)
            || values::is_code(name, value, may_be_same)
            || named.kind == Separator::Colon && values::is_class(name, value)
    }

    /// `const API_KEY: ApiKey = ...`, `password: HiddenText | None`, `auth: gcm::Context`: a type, and what is more.
    fn is_declared(&self, value: &[u8], end: usize) -> bool {
        let is_type = |byte: u8| {
            is_identifier(byte) || matches!(byte, b':' | b'.' | b'<' | b'>' | b'[' | b']' | b'&' | b'*' | b',')
        };
        let is_class = value.first().is_some_and(u8::is_ascii_uppercase) && value.iter().all(u8::is_ascii_alphabetic);
        let is_path = value.windows(2).any(|two| two == b"::");
        value.iter().all(|&byte| is_type(byte))
            && (is_path || self.starts_with(end, b" = ") || is_class && self.starts_with(end, b" | "))
    }

    /// The second cell of a row that has words in it: `| ApiKey | Request name |`.
    fn is_heading(&self, end: usize) -> bool {
        let words = self.glance(end, |byte| byte.is_ascii_alphabetic() || byte == b' ');
        self.byte(end + words.len()) == Some(b'|') && words.iter().any(u8::is_ascii_alphabetic)
    }

    /// `password= dbname=shop`: there is none, and the next name comes.
    fn is_next_name(&self, named: &Named, value: &[u8]) -> bool {
        let is_apart = self.bytes[named.value - 1] == b' ' && self.byte(named.name.end) == Some(b'=');
        let name = value.iter().position(|&byte| !is_identifier(byte)).unwrap_or(0);
        is_apart && name > 0 && value[name] == b'='
    }

    /// `[--password PASSWORD_FILE]`, `--password   ask for it`
    fn is_help(named: &Named, value: &[u8]) -> bool {
        let value = value.strip_suffix(b"]").unwrap_or(value);
        let is_upper = value.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_');
        let is_far = named.value > named.name.end + 1;
        is_upper && (values::is_type(value) || values::has_secret_word(value)) || is_far && values::is_name(value)
    }

    /// `Unexpected token: u`: what a parser says.
    fn is_topic(&self, named: &Named) -> bool {
        let name = &self.bytes[named.name.clone()];
        // `token: EOF`
        let is_kind = self.glance(named.value, |byte| byte.is_ascii_uppercase() || byte == b'_').len();
        matches!(named.kind, Separator::Colon | Separator::Literal | Separator::TightColon)
            && name.eq_ignore_ascii_case(b"token")
            && (prose::is_of_parser(self.word_before(named.name.start))
                || is_kind > 1 && is_kind < 12 && self.is_over(named.value + is_kind))
    }

    /// `Reset password: link sent`: the name is what a sentence is about, and words follow.
    fn is_prose(&self, named: &Named, end: usize) -> bool {
        let name = &self.bytes[named.name.clone()];
        let value = &self.bytes[named.value..end];
        let is_word = |word: &[u8]| {
            let word = word.strip_suffix(b",").or(word.strip_suffix(b".")).unwrap_or(word);
            !word.is_empty() && word.iter().all(u8::is_ascii_alphabetic)
        };
        // `:param token: ...`, of documentation
        if is_listed(self.word_before(named.name.start), &["arg", "ivar", "keyword", "param", "raises", "type", "var"])
        {
            return true;
        }
        if !is_word(value) || name.iter().any(|&byte| matches!(byte, b'_' | b'-')) || self.byte(end) != Some(b' ') {
            return false;
        }
        let next = self.glance(end + 1, |byte| !byte.is_ascii_whitespace());
        // "Single pass: remove ..."
        let before = self.word_before(named.name.start);
        let is_run = name.eq_ignore_ascii_case(b"pass") && !before.is_empty();
        is_word(next) && (is_run || prose::is_about(before) || values::has_secret_word(value))
    }

    /// `PWD=/srv/app`, where the shell is, and not how a driver opens.
    fn is_folder(&self, named: &Named, value: &[u8]) -> bool {
        let name = &self.bytes[named.name.clone()];
        let before = named.name.start.checked_sub(1).map(|at| self.bytes[at]);
        (name == b"PWD" || name == b"pwd" || name == b"OLDPWD")
            && before != Some(b';')
            && (value.starts_with(b"/") || value.get(1..3) == Some(b":\\"))
    }

    /// Where the credential begins behind a scheme such as `Bearer`, and whether it is a list.
    fn after_scheme(&self, within: Range<usize>) -> (usize, bool) {
        let word = self.glance(within.start, is_identifier);
        let after = self.skip_spaces(within.start + word.len());
        let is_followed = after > within.start + word.len() && after < within.end;
        if !is_followed || word.is_empty() || !prose::is_scheme(word) {
            return (within.start, false);
        }
        (after, is_listed(word, SCHEMES_WITH_LIST))
    }

    /// `<Secret object at 0x7f...>`
    fn is_object(&self, at: usize) -> bool {
        let head = &self.bytes[at + 1..(at + LOOK).min(self.bytes.len())];
        let begins = head.first().is_some_and(|&byte| byte.is_ascii_alphabetic() || byte == b'.')
            || head.starts_with(MARK.as_bytes());
        let end = head.iter().position(|&byte| byte == b'>');
        begins && end.is_some_and(|end| !CharacterClasses::of(&head[..end]).is_mixed() || head[..end].contains(&b' '))
    }

    /// Passwords have any signs in them, so a sign ends one only where the text around goes on behind it.
    pub(super) fn unquoted_end(&self, from: usize, named: &Named) -> usize {
        let mut at = from;
        let mut open = 0_usize;
        while let Some(byte) = self.byte(at) {
            let ends = match byte {
                _ if byte.is_ascii_whitespace() => true,
                b'&' if self.starts_with(at, b"&quot;") || self.starts_with(at, b"&lt;") => true,
                b'&' | b',' => self.goes_on(at + 1, false),
                b';' => self.goes_on(at + 1, true),
                // What was opened in the value is closed in it.
                b'(' | b'[' | b'{' => {
                    open += 1;
                    false
                }
                b')' | b']' | b'}' if open > 0 => {
                    open -= 1;
                    false
                }
                b'"' | b'\'' | b'`' | b')' | b']' | b'}' | b'>' => at > from && open == 0 && self.is_over(at + 1),
                // Lines of a header that were escaped
                b'\\' if at > from && (self.starts_with(at, b"\\r\\n") || self.is_escaped_line(at)) => true,
                b'\\' => {
                    let quote = at + self.glance(at, |byte| byte == b'\\').len();
                    matches!(self.byte(quote), Some(b'"' | b'\'')) && self.is_over(quote + 1)
                }
                b'<' => named.kind == Separator::Tag || self.byte(at + 1) == Some(b'/'),
                b'%' if named.kind == Separator::Encoded => {
                    ["%26", "%22", "%20", "%2C", "%7D", "%3B", "%0A"].iter().any(|end| self.says(at, end))
                }
                b'|' => named.kind == Separator::Pair,
                _ => false,
            };
            if ends {
                break;
            }
            at += 1;
        }
        at
    }

    /// Whether a list goes on here: an end, a space, or the next `name=`, or `Connect Timeout=` as ODBC has it.
    fn goes_on(&self, at: usize, names_have_spaces: bool) -> bool {
        let Some(first) = self.byte(at) else { return true };
        if first.is_ascii_whitespace() || matches!(first, b'"' | b'\'' | b')' | b']' | b'}' | b'{' | b'<') {
            return true;
        }
        let name =
            self.glance(at, |byte| is_identifier(byte) || byte == b'.' || byte == b' ' && names_have_spaces).len();
        name > 0 && matches!(self.byte(at + name), Some(b'=' | b':'))
    }

    /// `\nAccept: `, where the line break was escaped
    fn is_escaped_line(&self, at: usize) -> bool {
        let name = self.glance(at + 2, is_identifier).len();
        self.starts_with(at, b"\\n") && name > 0 && self.starts_with(at + 2 + name, b": ")
    }

    /// Whether nothing more of a word comes.
    pub(super) fn is_over(&self, at: usize) -> bool {
        self.byte(at).is_none_or(|byte| {
            byte.is_ascii_whitespace()
                || matches!(
                    byte,
                    b',' | b';' | b':' | b'.' | b')' | b']' | b'}' | b'"' | b'\'' | b'`' | b'>' | b'<' | b'\\'
                )
        })
    }

    /// The secret, unless there is none in its place.
    pub(super) fn unless_done(&self, secret: Range<usize>) -> Option<Found> {
        let value = &self.bytes[secret.clone()];
        let head = &value[..value.len().min(LOOK_STATEMENT)];
        if values::is_placeholder(head.trim_ascii()) { Found::nothing(secret.end) } else { Found::secret(secret) }
    }
}

/// A word without the sign behind it.
fn without_stop(word: &[u8]) -> &[u8] {
    let end = word.iter().rposition(|byte| !matches!(byte, b'.' | b',' | b';' | b':' | b'\'' | b'"'));
    &word[..end.map_or(0, |end| end + 1)]
}

/// Whether a credential may have its scheme before it.
fn is_header(name: &[u8]) -> bool {
    name.len() >= 13 && name[name.len() - 13..].eq_ignore_ascii_case(b"authorization")
}

/// `tokens=512`, `secrets: 3`, `pass=12`: counts.
fn is_number_of(name: &[u8], value: &[u8]) -> bool {
    let last = name.rsplit(|byte| matches!(byte, b'_' | b'-')).next().unwrap_or(name);
    let counts = last.eq_ignore_ascii_case(b"pass") || last.ends_with(b"s") || last.ends_with(b"S");
    counts && value.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b'.' | b'%' | b'/'))
}

/// Whether a name in a cookie's list is none of its values.
fn is_cookie_attribute(name: &[u8]) -> bool {
    let attributes = [&b""[..], b"path", b"domain", b"expires", b"max-age", b"samesite"];
    attributes.iter().any(|attribute| name.eq_ignore_ascii_case(attribute))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order() {
        assert!(SCHEMES_WITH_LIST.is_sorted());
    }
}

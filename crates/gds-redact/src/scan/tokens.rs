//! Secrets that can be told by what they are: how they begin, how long they are, what they are made of.
//!
//! A service whose tokens have a beginning of their own is a line in [`FORMATS`]. Those that do not (32 letters and
//! digits) are known by their name only.

use super::{Found, LOOK, Scan};
use crate::prose;
use crate::text::{CharacterClasses, decoded, is_base64, is_base64url, is_identifier, run};

/// How the tokens of a service look.
pub(super) struct Format {
    pub(super) begins: &'static str,
    /// A first part behind the beginning, if tokens have one: so many bytes, and the sign that ends it.
    part: (usize, u8),
    /// Bytes that follow at the least.
    least: usize,
    alphabet: fn(u8) -> bool,
    /// Whether the beginning is no part of the secret, as that of a URL.
    is_place: bool,
}

const fn format(begins: &'static str, least: usize, alphabet: fn(u8) -> bool) -> Format {
    Format { begins, part: (0, 0), least, alphabet, is_place: false }
}

const fn parted(begins: &'static str, part: (usize, u8), least: usize, alphabet: fn(u8) -> bool) -> Format {
    Format { begins, part, least, alphabet, is_place: false }
}

const fn place(begins: &'static str, least: usize, alphabet: fn(u8) -> bool) -> Format {
    Format { begins, part: (0, 0), least, alphabet, is_place: true }
}

pub(super) fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

pub(super) fn is_dotted(byte: u8) -> bool {
    is_base64url(byte) || byte == b'.'
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_path(byte: u8) -> bool {
    is_base64url(byte) || byte == b'/'
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_upper(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'-')
}

/// Of a UUID.
fn is_uuid(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte == b'-'
}

/// Of a hash as `crypt` writes it, with its parameters.
fn is_crypt(byte: u8) -> bool {
    is_base64(byte) || matches!(byte, b'.' | b'$' | b'=' | b',' | b'-' | b'_')
}

pub(super) const FORMATS: &[Format] = &[
    // Source code and packages
    format("ghp_", 20, is_alphanumeric),
    format("gho_", 20, is_alphanumeric),
    format("ghu_", 20, is_alphanumeric),
    format("ghs_", 20, is_alphanumeric),
    format("ghr_", 20, is_alphanumeric),
    format("github_pat_", 20, is_word),
    format("glpat-", 16, is_dotted),
    format("glptt-", 20, is_base64url),
    format("gldt-", 16, is_base64url),
    format("glrt-", 16, is_dotted),
    format("glcbt-", 16, is_base64url),
    format("glft-", 16, is_base64url),
    format("glsoat-", 16, is_base64url),
    format("glimt-", 16, is_base64url),
    format("glagent-", 32, is_base64url),
    format("glffct-", 16, is_base64url),
    format("GR1348941", 20, is_base64url),
    format("gloas-", 32, is_base64url),
    format("ATBB", 24, is_alphanumeric),
    format("npm_", 36, is_alphanumeric),
    format("pypi-AgE", 16, is_base64url),
    format("rubygems_", 32, is_lower_hex),
    format("cio", 32, is_alphanumeric),
    format("CLOJARS_", 60, is_alphanumeric),
    format("oy2", 43, is_alphanumeric),
    format("AKCp", 60, is_alphanumeric),
    format("cmVmdGtu", 48, is_alphanumeric),
    format("CCIPAT_", 32, is_word),
    format("CCIPRJ_", 32, is_word),
    format("bkua_", 32, is_alphanumeric),
    format("sgp_", 32, is_word),
    format("squ_", 40, is_lower_hex),
    format("sqp_", 40, is_lower_hex),
    format("sqa_", 40, is_lower_hex),
    parted("pat.", (22, b'.'), 24, is_dotted),
    parted("sat.", (22, b'.'), 24, is_dotted),
    format("API-", 26, is_upper),
    format("s-s4t2ud-", 64, is_lower_hex),
    format("s-s4t2af-", 64, is_lower_hex),
    format("snyk_uat.", 32, is_dotted),
    format("snyk_sat.", 32, is_dotted),
    format("SWMTKN-1-", 40, is_base64url),
    format("SWMKEY-1-", 32, is_base64),
    format("dckr_pat_", 20, is_base64url),
    format("dckr_oat_", 20, is_base64url),
    // Clouds and databases
    format("AIza", 35, is_base64url),
    format("ya29.", 20, is_dotted),
    format("1//0", 32, is_base64url),
    format("GOCSPX-", 24, is_base64url),
    format("LTAI", 16, is_alphanumeric),
    format("AKID", 28, is_alphanumeric),
    format("ABSK", 100, is_base64),
    format("dop_v1_", 32, is_alphanumeric),
    format("doo_v1_", 32, is_alphanumeric),
    format("dor_v1_", 32, is_alphanumeric),
    format("dapi", 32, is_uuid),
    format("dose", 32, is_lower_hex),
    format("dsapi", 32, is_lower_hex),
    format("dkea", 32, is_lower_hex),
    parted("v1.0-", (24, b'-'), 146, is_lower_hex),
    format("sha256~", 43, is_base64url),
    format("AVNS_", 16, is_base64url),
    format("tk-us-", 48, is_base64url),
    parted("dnkey-", (26, b'-'), 52, is_base64url),
    format("pscale_tkn_", 32, is_dotted),
    format("pscale_pw_", 32, is_dotted),
    format("pscale_oauth_", 32, is_dotted),
    format("sbp_", 40, is_word),
    format("sb_secret_", 20, is_base64url),
    format("mdb_sa_sk_", 32, is_base64url),
    format("napi_", 40, is_alphanumeric),
    format("cflt", 50, is_base64),
    format("HRKU-", 30, is_base64url),
    format("fo1_", 40, is_base64url),
    format("fm2_", 40, is_base64),
    format("fm1r_", 100, is_base64),
    format("fm1a_", 100, is_base64),
    format("vercel_blob_rw_", 30, is_word),
    format("rnd_", 28, is_alphanumeric),
    format("nfp_", 36, is_alphanumeric),
    format("tskey-", 20, is_base64url),
    format("pul-", 40, is_lower_hex),
    format("AGE-SECRET-KEY-1", 40, is_alphanumeric),
    format("ops_eyJ", 60, is_base64url),
    format("essu_", 32, is_base64),
    parted("A3-", (6, b'-'), 26, is_upper),
    // Watching and paging
    format("glsa_", 32, is_word),
    format("glc_", 32, is_base64),
    format("eyJrIjoi", 40, is_base64),
    format("NRAK-", 27, is_alphanumeric),
    format("NRII-", 32, is_base64url),
    format("NRJS-", 19, is_lower_hex),
    format("dt0c01.", 60, is_dotted),
    format("dt0s01.", 60, is_dotted),
    format("sntrys_", 40, |byte| is_word(byte) || matches!(byte, b'+' | b'=')),
    format("sntryu_", 64, is_lower_hex),
    format("ddapp_", 34, is_alphanumeric),
    format("pdus+", 18, is_path),
    format("phx_", 36, is_base64url),
    format("xaat-", 36, is_uuid),
    format("xapt-", 36, is_uuid),
    place("SSWS ", 40, is_base64url),
    format("aio_", 28, is_alphanumeric),
    format("ico-", 32, is_alphanumeric),
    format("pnu_", 36, is_alphanumeric),
    // People and text
    format("xoxa-", 10, is_base64url),
    format("xoxb-", 10, is_base64url),
    format("xoxc-", 10, is_base64url),
    format("xoxd-", 10, is_base64url),
    format("xoxe-", 10, is_base64url),
    format("xoxe.", 20, is_dotted),
    format("xoxp-", 10, is_base64url),
    format("xoxr-", 10, is_base64url),
    format("xoxs-", 10, is_base64url),
    format("xapp-", 10, is_base64url),
    place("slack.com/services/", 16, is_path),
    place("slack.com/workflows/", 16, is_path),
    place("slack.com/triggers/", 16, is_path),
    place("discord.com/api/webhooks/", 40, is_path),
    place("discordapp.com/api/webhooks/", 40, is_path),
    place("api.telegram.org/bot", 40, |byte| is_base64url(byte) || byte == b':'),
    place("webhook.office.com/webhookb2/", 40, |byte| is_path(byte) || byte == b'@'),
    format("ATATT3", 30, |byte| is_base64url(byte) || byte == b'='),
    format("ATCTT3", 30, |byte| is_base64url(byte) || byte == b'='),
    format("ATSTT3", 30, |byte| is_base64url(byte) || byte == b'='),
    format("lin_api_", 32, is_alphanumeric),
    format("lin_oauth_", 32, is_alphanumeric),
    format("secret_", 43, is_alphanumeric),
    format("ntn_", 40, is_alphanumeric),
    parted("pat", (14, b'.'), 64, is_lower_hex),
    format("sl.u.", 100, is_base64url),
    format("sl.", 130, is_base64url),
    format("rdme_", 70, is_alphanumeric),
    format("fio-u-", 64, is_base64url),
    format("p8e-", 32, is_alphanumeric),
    format("figd_", 36, is_base64url),
    format("figo_", 36, is_base64url),
    format("PMAK-", 34, is_base64url),
    format("PMAT-", 24, is_alphanumeric),
    format("dp.pt.", 40, is_dotted),
    format("dp.st.", 40, is_dotted),
    format("dp.ct.", 40, is_dotted),
    format("dp.sa.", 40, is_dotted),
    format("dp.scim.", 40, is_dotted),
    format("SG.", 40, is_dotted),
    format("xkeysib-", 64, is_base64url),
    format("xsmtpsib-", 64, is_base64url),
    parted("re_", (8, b'_'), 24, is_alphanumeric),
    format("key-", 32, is_lower_hex),
    format("SK", 32, is_lower_hex),
    format("pat-na1-", 36, is_uuid),
    format("pat-eu1-", 36, is_uuid),
    format("sdk-", 36, is_uuid),
    format("CFPAT-", 40, is_base64url),
    format("tfp_", 40, is_dotted),
    format("EAACEdEose0cBA", 10, is_alphanumeric),
    format("EAAC", 100, is_alphanumeric),
    format("EAAM", 100, is_alphanumeric),
    format("sk.eyJ", 60, is_dotted),
    format("tk.eyJ", 60, is_dotted),
    // Trade
    format("sk_live_", 16, is_alphanumeric),
    format("sk_test_", 16, is_alphanumeric),
    format("rk_live_", 16, is_alphanumeric),
    format("rk_test_", 16, is_alphanumeric),
    format("rzp_live_", 14, is_alphanumeric),
    format("rzp_test_", 14, is_alphanumeric),
    format("access-production-", 36, is_uuid),
    format("access-sandbox-", 36, is_uuid),
    format("whsec_", 16, is_base64),
    format("shpat_", 32, is_alphanumeric),
    format("shpca_", 32, is_alphanumeric),
    format("shppa_", 32, is_alphanumeric),
    format("shpss_", 32, is_alphanumeric),
    format("sq0atp-", 20, is_base64url),
    format("sq0csp-", 40, is_base64url),
    format("EAAAE", 58, is_base64url),
    format("EAAAl", 58, is_base64url),
    format("EZAK", 54, is_alphanumeric),
    format("EZTK", 54, is_alphanumeric),
    format("FLWSECK", 12, is_base64url),
    format("access_token$production$", 40, is_crypt),
    format("amzn.mws.", 36, is_uuid),
    format("shippo_live_", 40, is_lower_hex),
    format("shippo_test_", 40, is_lower_hex),
    format("duffel_live_", 40, is_base64url),
    format("duffel_test_", 40, is_base64url),
    format("sm_pat_", 16, is_alphanumeric),
    format("sm_aat_", 16, is_alphanumeric),
    format("sm_sat_", 16, is_alphanumeric),
    // Models
    format("sk-", 20, is_base64url),
    format("hf_", 30, is_alphanumeric),
    format("api_org_", 30, is_alphanumeric),
    format("apify_api_", 30, is_alphanumeric),
    format("r8_", 36, is_alphanumeric),
    format("gsk_", 40, is_alphanumeric),
    format("xai-", 60, is_alphanumeric),
    format("pplx-", 40, is_alphanumeric),
    format("nvapi-", 40, is_base64url),
    format("pcsk_", 40, is_word),
    format("lsv2_pt_", 32, is_word),
    format("lsv2_sk_", 32, is_word),
    format("tvly-", 28, is_base64url),
    // Hashes of passwords
    format("$1$", 24, is_crypt),
    format("$2a$", 50, is_crypt),
    format("$2b$", 50, is_crypt),
    format("$2y$", 50, is_crypt),
    format("$5$", 40, is_crypt),
    format("$6$", 60, is_crypt),
    format("$y$", 40, is_crypt),
    format("$apr1$", 24, is_crypt),
    format("$argon2", 40, is_crypt),
    format("$scrypt$", 40, is_crypt),
    format("pbkdf2_sha256$", 40, is_crypt),
    format("SCRAM-SHA-256$", 40, |byte| is_crypt(byte) || byte == b':'),
    format("{SSHA}", 28, |byte| is_base64(byte) || byte == b'='),
];

/// How tokens look that have no beginning of their own, but a middle.
pub(super) struct Middle {
    pub(super) word: &'static str,
    /// What is before: so many bytes of an alphabet.
    before: (usize, usize, fn(u8) -> bool),
    /// What is behind: at least so many.
    behind: (usize, fn(u8) -> bool),
}

pub(super) const MIDDLES: &[Middle] = &[
    // Bots of Telegram: a number and 35 bytes that begin alike.
    Middle { word: ":AA", before: (8, 12, |byte| byte.is_ascii_digit()), behind: (32, is_base64url) },
    Middle { word: ".atlasv1.", before: (14, 14, is_alphanumeric), behind: (60, is_base64url) },
    Middle { word: "-us", before: (32, 32, is_lower_hex), behind: (1, |byte| byte.is_ascii_digit()) },
    // Client secrets of Entra ID.
    Middle { word: "8Q~", before: (3, 3, is_client_secret), behind: (31, is_client_secret) },
    Middle { word: "7Q~", before: (3, 3, is_client_secret), behind: (31, is_client_secret) },
    // Keys of Azure, which say in their middle of which service.
    Middle { word: "+AStg", before: (64, 90, is_base64), behind: (6, is_azure) },
    Middle { word: "+ASbU", before: (24, 60, is_base64), behind: (4, is_azure) },
    Middle { word: "+AEhE", before: (24, 60, is_base64), behind: (4, is_azure) },
    Middle { word: "ACDb", before: (64, 90, is_base64), behind: (4, is_azure) },
    Middle { word: "AzCa", before: (24, 60, is_base64), behind: (4, is_azure) },
    Middle { word: "JQQJ99", before: (40, 60, is_alphanumeric), behind: (20, is_alphanumeric) },
    Middle { word: "AZDO", before: (60, 80, is_alphanumeric), behind: (4, is_alphanumeric) },
];

fn is_client_secret(byte: u8) -> bool {
    is_dotted(byte) || byte == b'~'
}

fn is_azure(byte: u8) -> bool {
    is_base64(byte) || byte == b'='
}

impl Scan<'_> {
    pub(super) fn format(&self, format: &Format, start: usize, end: usize) -> Option<Found> {
        if &self.bytes[start..end] != format.begins.as_bytes() || !format.is_place && !self.begins(start) {
            return None;
        }
        let (part, sign) = format.part;
        let from = end + part + usize::from(part > 0);
        if part > 0 && (self.glance(end, is_base64url).len() < part || self.byte(from - 1) != Some(sign)) {
            return None;
        }
        let body = self.look_ahead(from, LOOK.max(format.least), format.alphabet);
        let made = CharacterClasses::of(body);
        if body.len() < format.least || made.digits == 0 && !made.is_shuffled() {
            return None;
        }
        Found::secret(if format.is_place { end } else { start }..self.without_stop(self.run(from, format.alphabet)))
    }

    /// Bots of Discord: their number in base64, the time and a signature.
    pub(super) fn discord(&self, start: usize, end: usize) -> Option<Found> {
        if self.byte(start + 7) != Some(b'.') || self.look_ahead(end, 5, is_base64url).len() < 5 {
            return None;
        }
        let from = self.look_back(start, LOOK, is_alphanumeric);
        // The letter of `\n` is none of it.
        let from = from + usize::from(from > 0 && self.bytes[from - 1] == b'\\');
        let number = decoded(&self.bytes[from..start]);
        let is_number = matches!(number.len(), 17..=20) && number.iter().all(u8::is_ascii_digit);
        let signature = self.look_ahead(start + 8, LOOK, is_base64url).len();
        if is_number && matches!(signature, 27..=38) { Found::secret(from..start + 8 + signature) } else { None }
    }

    /// Not the stop of a sentence that a token ends.
    fn without_stop(&self, end: usize) -> usize {
        end - usize::from(self.bytes[end - 1] == b'.')
    }

    pub(super) fn middle(&self, middle: &Middle, start: usize, end: usize) -> Option<Found> {
        let (least, most, alphabet) = middle.before;
        if &self.bytes[start..end] != middle.word.as_bytes() {
            return None;
        }
        let from = self.look_back(start, most + 1, alphabet);
        let (behind, alphabet) = middle.behind;
        let is_one = (least..=most).contains(&(start - from)) && self.look_ahead(end, behind, alphabet).len() == behind;
        if is_one { Found::secret(from..self.run(end, alphabet)) } else { None }
    }

    pub(super) fn vault(&self, start: usize, end: usize) -> Option<Found> {
        let made = CharacterClasses::of(self.glance(end, is_base64url));
        let is_one = self.bytes[start..end].starts_with(b"hv")
            && self.begins(start)
            && made.letters() + made.digits + made.other >= 12
            && made.digits + made.upper > 0;
        if !is_one {
            return None;
        }
        Found::secret(start..self.namespace(self.run(end, is_base64url)))
    }

    pub(super) fn old_vault(&self, start: usize, end: usize) -> Option<Found> {
        if !matches!(self.bytes[start], b's' | b'b' | b'r') || !self.begins(start) {
            return None;
        }
        // An attribute of an attribute, or the end of a word such as `_s.`
        if start > self.done && matches!(self.bytes[start - 1], b'.' | b'_') {
            return None;
        }
        let body = self.glance(end, is_base64url);
        let made = CharacterClasses::of(body);
        // Batch tokens are long and of the alphabet for URLs; the others have 24 letters and digits.
        let is_one = if self.bytes[start] == b'b' { body.len() == LOOK } else { body.len() == 24 && made.other == 0 };
        if !is_one || made.upper == 0 || made.lower == 0 {
            return None;
        }
        Found::secret(start..self.namespace(self.run(end, is_base64url)))
    }

    /// Vault appends the id of a namespace: a dot and five letters and digits.
    fn namespace(&self, end: usize) -> usize {
        match self.byte(end) {
            Some(b'.') => {
                let id = self.glance(end + 1, is_alphanumeric).len();
                if matches!(id, 5 | 6) { end + 1 + id } else { end }
            }
            _ => end,
        }
    }

    pub(super) fn jwt(&self, start: usize) -> Option<Found> {
        let dashed = start > self.done && matches!(self.bytes[start - 1], b'-' | b'_' | b'.');
        if dashed || !self.begins(start) || !self.starts_with(start, b"eyJ") {
            return None;
        }
        // Each run is looked at from its beginning only, so at most once.
        let header = self.run(start, is_base64url);
        if self.byte(header) != Some(b'.') || header - start < 10 {
            return None;
        }
        // Two dots at once: encrypted directly, without a key in between (RFC 7516).
        let body = header + 1 + usize::from(self.byte(header + 1) == Some(b'.'));
        if self.glance(body, is_base64url).len() < 4 {
            return None;
        }
        let end = self.run(start, is_dotted);
        // A token that is not signed ends in a dot, behind the second of its three parts.
        let parts = self.bytes[start..end].split(|&byte| byte == b'.').count();
        Found::secret(start..if parts == 3 { end } else { self.without_stop(end) })
    }

    pub(super) fn aws(&mut self, start: usize, end: usize) -> Option<Found> {
        let body = self.glance(end, is_alphanumeric);
        let is_one = matches!(&self.bytes[start..end], b"AKIA" | b"ASIA")
            && self.begins(start)
            && body.len() == 16
            && body.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if !is_one {
            return None;
        }
        let id = start..end + 16;
        self.aws_secret(id.end);
        Found::secret(id)
    }

    /// Takes out a secret access key within reach: 40 bytes of base64 that are a word of their own. What lies between
    /// is still to be looked at.
    pub(super) fn aws_secret(&mut self, from: usize) {
        let end = (from + 2 * LOOK).min(self.bytes.len());
        let mut at = from;
        while at < end {
            let word = run(&self.bytes[..end], at, is_base64);
            if word - at == 40 {
                let made = CharacterClasses::of(&self.bytes[at..word]);
                if made.digits > 0 && made.upper > 0 && made.lower > 0 {
                    self.secrets.push(at..word);
                    return;
                }
            }
            at = word + 1;
        }
    }

    pub(super) fn signature(&self, start: usize, end: usize) -> Option<Found> {
        if start == 0 || !matches!(self.bytes[start - 1], b'?' | b'&') {
            return None;
        }
        let value = self.run(end, |byte| is_base64(byte) || matches!(byte, b'%' | b'=' | b'-' | b'_' | b'.' | b'~'));
        if value - end < 16 { None } else { Found::secret(end..value) }
    }

    /// `Bearer` or `Basic` on its own; in a header, [`Self::key`] has it already.
    pub(super) fn scheme(&mut self, start: usize, end: usize, is_credential: impl Fn(&[u8]) -> bool) -> Option<Found> {
        if start > self.done && is_identifier(self.bytes[start - 1]) && !self.begins(start) {
            return None;
        }
        let from = match self.byte(end)? {
            b' ' | b'\t' => self.skip_spaces(end),
            b'%' if self.starts_with(end, b"%20") => end + 3,
            b'+' => end + 1,
            // `bearer: abc`, `"bearer": "abc"`, `basic_auth(...)`
            _ => return self.key(start, end),
        };
        let is_credential_byte = |byte: u8| is_base64(byte) || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let word = self.glance(from, is_credential_byte);
        let word = word.strip_suffix(b".").unwrap_or(word);
        if !is_credential(word) {
            return None;
        }
        let end = self.run(from, is_credential_byte);
        let filled = self.run(end, |byte| byte == b'=');
        // `token_type=bearer refresh_token_expires_in=3600`
        let is_name = filled > end && word.iter().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-'));
        if is_name || prose::is_scheme_word(word) { None } else { Found::secret(from..filled) }
    }
}

//! Tokens for SASL OAUTHBEARER, asked of the program when librdkafka needs one.
#![allow(unsafe_code)] // each block says why it is sound

use std::ffi::{CString, c_char};
use std::sync::Arc;

use rdkafka_sys as sys;

use super::callbacks::LogLevel;
use super::callbacks::Token;
use super::native::Handle;
use super::text::owned_text;

/// Gives librdkafka the token it asks for, or the reason why there is none.
pub(super) fn refresh(handle: &Arc<Handle>) {
    let token = match &handle.shared().callbacks.token {
        Some(callback) => callback(),
        None => Err("sasl_oauth_token_provider is not given".to_owned()),
    };
    let secret = token.as_ref().map(|token| token.token.clone()).unwrap_or_default();
    let Err(reason) = token.and_then(|token| give(handle, &token)) else { return };
    let reason = if secret.is_empty() { reason } else { reason.replace(&secret, "***") };
    handle.shared().log(LogLevel::Error, "OAUTH", &format!("no token for SASL OAUTHBEARER: {reason}"));
    let reason = CString::new(reason.replace('\0', " ")).unwrap_or_default();
    // SAFETY: the handle is alive; the text ends in NUL and is copied.
    unsafe { sys::rd_kafka_oauthbearer_set_token_failure(handle.raw(), reason.as_ptr()) };
}

fn give(handle: &Handle, token: &Token) -> Result<(), String> {
    let text = |text: &str| CString::new(text).map_err(|_| "it holds a NUL character".to_owned());
    let (value, principal) = (text(&token.token)?, text(&token.principal)?);
    let mut extensions = Vec::new();
    for (name, value) in &token.extensions {
        extensions.extend([text(name)?, text(value)?]);
    }
    let mut pointers: Vec<*const c_char> = extensions.iter().map(|text| text.as_ptr()).collect();
    let mut reason = [0 as c_char; 512];
    // SAFETY: the handle is alive; all texts end in NUL, live for the call and are copied; the array has the length
    // said; at most the length of `reason` is written, NUL included.
    let code = unsafe {
        sys::rd_kafka_oauthbearer_set_token(
            handle.raw(),
            value.as_ptr(),
            token.expires_ms,
            principal.as_ptr(),
            pointers.as_mut_ptr(),
            pointers.len(),
            reason.as_mut_ptr(),
            reason.len(),
        )
    };
    if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    // SAFETY: librdkafka ended the text with NUL.
    Err(unsafe { owned_text(reason.as_ptr()) })
}

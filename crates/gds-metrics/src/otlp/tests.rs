mod conversion;
mod schedule;
mod secrets;
mod settings;
mod wire;
